"""Which parameters the catalogue lets users set, and checking values before they are sent.

The check only saves a round trip: what cannot be known here is left to the API server.
"""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from coffer_cli.api import DATASTORE_VERSION, Api, Object
from coffer_cli.errors import CliError, Exit
from coffer_common.errors import Permanent, UserError
from coffer_common.resources.configuration import ParameterOverride
from coffer_common.rules import Rules, load


def split_datastore(
    datastore: str, version: str | None, way_out: str, *, option: str = ""
) -> tuple[str, str | None]:
    """Name and version of NAME or NAME:VERSION. Raises CliError where `version` is another."""
    engine, colon, tag = datastore.partition(":")
    if colon and (not tag or version not in (None, tag)):
        raise CliError(f"{option}{datastore}: {way_out}", Exit.USAGE)
    return engine, tag or version


def datastore_version(api: Api, datastore: str, version: str | None) -> Object:
    """The entry of the catalogue; without a version, the datastore's default one.

    Raises CliError where there is none.
    """
    entries = [e for e in api.list(DATASTORE_VERSION, None) if _of(e)["datastore"] == datastore]
    if not entries:
        raise CliError(f"there is no datastore {datastore} in the catalogue", Exit.NOT_FOUND)
    for entry in entries:
        if _of(entry)["version"] == version or (version is None and _of(entry).get("default")):
            return entry
    known = ", ".join(sorted(str(_of(entry)["version"]) for entry in entries))
    if version is None:
        raise CliError(f"{datastore} has no default version; name one of {known}", Exit.USAGE)
    raise CliError(
        f"there is no version {version} of {datastore} in the catalogue; there is {known}",
        Exit.NOT_FOUND,
    )


def rules_of(entry: Object) -> Rules | None:
    """The rules with the administrator's overrides; None where this program does not know them."""
    spec = entry["spec"]
    try:
        rules = load(str(spec["datastore"]), str(spec["version"]))
        overrides = [ParameterOverride.model_validate(o) for o in spec.get("parameters") or ()]
        return rules.overridden(overrides)
    except (Permanent, UserError, ValueError):
        return None  # a newer catalogue; the operator knows more


def find_rules(api: Api, datastore: Mapping[str, Any]) -> Rules | None:
    """The rules for a spec.datastore or status.datastore; None where they cannot be had."""
    if not datastore.get("version"):
        return None
    try:
        entry = datastore_version(api, str(datastore["type"]), str(datastore["version"]))
    except CliError as error:
        if error.code in (Exit.NOT_FOUND, Exit.REFUSED):
            return None  # e.g. the catalogue may not be read
        raise
    return rules_of(entry)


def check(rules: Rules | None, values: Mapping[str, Any]) -> None:
    """Raises CliError with one line that says all that is wrong; null stands for no value."""
    if rules is None:
        return
    try:
        rules.check({name: value for name, value in values.items() if value is not None})
    except UserError as error:
        raise CliError(error.message, Exit.USAGE) from None


def nearest(name: str, known: Iterable[str]) -> str:
    """`; did you mean …?`, or nothing."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _of(entry: Object) -> Mapping[str, Any]:
    spec: Mapping[str, Any] = entry["spec"]
    return spec
