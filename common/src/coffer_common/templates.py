"""Finds and renders the engines' configuration templates.

The most specific folder wins: `<datastore>/<version>`, `<datastore>/<major.minor>`,
`<datastore>/<major>`, `<datastore>`. They lie in the wheel, and in the tree where the package is
installed editable. jinja2 is imported when something is rendered: not everybody has it.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from coffer_common.errors import Permanent

if TYPE_CHECKING:
    from jinja2 import Environment

CONFIG: Final = "config.template"
VALIDATION_RULES: Final = "validation-rules.json"

_HERE: Final = Path(__file__).resolve()
_PACKAGED: Final = _HERE.parent / "_templates"
_MEBIBYTE: Final = 1024**2


class Size(Protocol):
    """What templates compute with; see wire.FlavorSize, which is not imported for it."""

    @property
    def ram_bytes(self) -> int: ...

    @property
    def vcpus(self) -> float: ...


def templates_folder() -> Path:
    """The folder with one folder per datastore."""
    return _PACKAGED if _PACKAGED.is_dir() else _HERE.parents[3] / "templates"


def find(datastore: str, version: str, name: str) -> Path:
    """The file `name` for a datastore version, by the lookup order. Raises Permanent if none."""
    for folder in _candidates(datastore, version):
        path = templates_folder() / folder / name
        if path.is_file():
            return path
    raise Permanent(f"there is no {name} for {datastore} {version}")


def render(
    datastore: str,
    version: str,
    flavor: Size,
    *,
    name: str = CONFIG,
    extra: Mapping[str, object] | None = None,
) -> str:
    """The text of a template for a flavor.

    Templates see `flavor.ram` (whole MiB) and `flavor.vcpus`, `datastore.name`,
    `datastore.version`, and what `extra` holds, such as `server_id`. Raises Permanent where there
    is no such template or it asks for something it was not given.
    """
    from jinja2 import TemplateError  # noqa: PLC0415 - the operator has no jinja2

    path = find(datastore, version, name)
    context: dict[str, object] = {
        "flavor": {"ram": flavor.ram_bytes // _MEBIBYTE, "vcpus": flavor.vcpus},
        "datastore": {"name": datastore, "version": version},
        **(extra or {}),
    }
    try:
        return _environment(path.parent).get_template(path.name).render(context)
    except TemplateError as error:
        raise Permanent(f"{name} of {datastore} {version}: {error}") from error


@cache
def _environment(folder: Path) -> "Environment":
    """Where templates of `folder` come from; a compiled one is kept until its file changes."""
    from jinja2 import (  # noqa: PLC0415 - the operator has no jinja2
        Environment,
        FileSystemLoader,
        StrictUndefined,
    )

    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - configuration files of engines, not HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _candidates(datastore: str, version: str) -> tuple[str, ...]:
    """Folders in lookup order; a name that would lead out of the folder is refused."""
    for part in (datastore, version):
        if not part or part.startswith(".") or "/" in part or "\\" in part:
            raise Permanent(f"{part!r} is no name of a datastore or a version")
    numbers = version.split(".")
    versions = dict.fromkeys([version, ".".join(numbers[:2]), numbers[0]])
    return (*(f"{datastore}/{one}" for one in versions), datastore)
