"""Values of engines' parameters: how users write them, what changes, how they are shown. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from coffer_cli.errors import CliError, Exit
from coffer_common.naming import API_VERSION
from coffer_common.rules import Parameter, ParameterType, Rules, size_text

Values = dict[str, Any]

ABSENT: Final = "-"  # in a table, where there is no value


@dataclass(frozen=True)
class Change:
    """What became of one parameter; None where it had, or has, no value."""

    name: str
    before: Any
    after: Any


def parse_assignments(arguments: Sequence[str]) -> Values:
    """`NAME=VALUE` arguments; every value is a string, which the rules read. Raises CliError."""
    values: Values = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not name or not equals:
            raise CliError(f"{argument!r}: write NAME=VALUE", Exit.USAGE)
        if name in values:
            raise CliError(f"{name} is given twice", Exit.USAGE)
        values[name] = value.strip()
    return values


def parse_document(text: str, source: str, *, nulls: bool) -> Values:
    """A YAML or JSON map of parameters, with the types that it gives them. Raises CliError.

    `nulls`: whether null is a value; it stands for "take it out".
    """
    import yaml  # noqa: PLC0415 -- only where there is a file: it takes a while to import

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise CliError(f"{source}: {' '.join(str(error).split())}", Exit.USAGE) from None
    if not isinstance(document, dict):
        raise CliError(f"{source}: write a map, such as max_connections: 200", Exit.USAGE)
    for name, value in document.items():
        if not isinstance(name, str):
            raise CliError(f"{source}: {name!r} is no name of a parameter; quote it", Exit.USAGE)
        if value is None and not nulls:
            raise CliError(f"{source}: {name} has no value", Exit.USAGE)
    return document


def merge_patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> Values:
    """The JSON merge patch that leads from one to the other, nothing of the old remaining."""
    dropped: Values = {name: None for name in before if name not in after}
    return dropped | {
        name: value
        for name, value in after.items()
        if name not in before or not _same(before[name], value)
    }


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs, by name."""
    return [
        Change(name, before.get(name), after.get(name))
        for name in sorted({*before, *after})
        if not _same(before.get(name), after.get(name))
    ]


def group_manifest(
    name: str,
    namespace: str,
    datastore: Mapping[str, str],
    values: Mapping[str, Any],
    description: str | None,
) -> dict[str, Any]:
    """The ConfigurationGroup that the user could have applied."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ConfigurationGroup",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "datastore": dict(datastore),
            **({"description": description} if description else {}),
            "values": dict(values),
        },
    }


def shown(value: Any, parameter: Parameter | None = None) -> str:
    """A value as a person writes it: 4M of a size, 30s of a duration, ON of a boolean."""
    if value is None:
        return ABSENT
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    if isinstance(value, int) and parameter is not None:
        if parameter.type is ParameterType.SIZE and value >= 0:
            return size_text(value)
        if parameter.type is ParameterType.DURATION:
            return f"{value}{parameter.unit or 's'}"
    return str(value) if value != "" else '""'


def normal(name: str, value: Any, rules: Rules | None) -> Any:
    """The form in which values can be compared; what no rule can read is left as it is."""
    parameter = rules.find(name) if rules is not None else None
    if parameter is None or value is None:
        return value
    found = parameter.normal(value)
    return value if found is None else found


def comparable(values: Mapping[str, Any], rules: Rules | None) -> Values:
    """All values in their normal form, by the names that the rules have for them."""
    return {
        name: normal(name, value, rules) for name, value in respelled(values, {}, rules).items()
    }


def respelled(values: Mapping[str, Any], present: Mapping[str, Any], rules: Rules | None) -> Values:
    """The values by the names that a group has for them already, else by those of the rules.

    A parameter may be written max_connections or max-connections; twice would be refused.
    """
    spellings = {_canonical(name, rules): name for name in present}
    result: Values = {}
    for name, value in values.items():
        known = rules.find(name) if rules is not None else None
        own = spellings.get(_canonical(name, rules), known.name if known else name)
        if own in result:
            raise CliError(f"{own} is given twice", Exit.USAGE)
        result[own] = value
    return result


def _canonical(name: str, rules: Rules | None) -> str:
    known = rules.find(name) if rules is not None else None
    return (known.name if known else name).lower().replace("-", "_")


def _same(one: Any, other: Any) -> bool:
    """Equal with their types: 1 and true are two values."""
    return json.dumps(one, sort_keys=True, default=str) == json.dumps(
        other, sort_keys=True, default=str
    )
