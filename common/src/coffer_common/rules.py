"""The rules of an engine version: every parameter that users may set, or may not and why.

From validation-rules.json, and an administrator's overrides. Pure but for `load`. Operator, guest
agent and command line check values by this one function, so they say the same.

A parameter's name is known in any case, with - or _, and by the engine's option where that is
another one; what is returned bears the one spelling of the rules.
"""

import difflib
import functools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from coffer_common.errors import UserError
from coffer_common.overrides import Override, overridden
from coffer_common.parameter import (
    INVALID_PARAMETER,
    Parameter,
    ParameterType,
    shown_name,
    shown_value,
    size_text,
)
from coffer_common.templates import VALIDATION_RULES, find
from coffer_common.wire import Value

__all__ = [
    "INVALID_PARAMETER",
    "MAX_MESSAGE_LENGTH",
    "Override",
    "Parameter",
    "ParameterType",
    "Rules",
    "load",
    "parse_rules",
    "size_text",
]

MAX_MESSAGE_LENGTH: Final = 1024


class Rules:
    """The parameters of one engine version. Never changes; `overridden` makes another."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        """`parameters` by name. Raises ValueError where two have one name in two spellings."""
        self.parameters: Mapping[str, Parameter] = dict(parameters)
        self._names: dict[str, str] = {}
        for name, parameter in self.parameters.items():
            for spelling in {_normal(name), _normal(parameter.option or name)}:
                if self._names.setdefault(spelling, name) != name:
                    raise ValueError(f"{name} and {self._names[spelling]} are one parameter")

    def find(self, name: str) -> Parameter | None:
        """The parameter of that name, in any spelling; None where there is none."""
        known = self._names.get(_normal(name))
        return None if known is None else self.parameters[known]

    def get(self, name: str) -> Parameter:
        """Raises UserError for an unknown parameter, with a suggestion for a misspelt one."""
        parameter = self.find(name)
        if parameter is not None:
            return parameter
        suggestion = self._suggestion(name)
        raise UserError(INVALID_PARAMETER, f"{shown_value(name)} is not a parameter{suggestion}")

    def check(self, values: Mapping[str, object]) -> dict[str, Value]:
        """All values in their normal form, by the parameters' own names, in their order.

        Raises one UserError whose one line, of at most MAX_MESSAGE_LENGTH characters, names what
        is wrong, the first ones in detail.
        """
        result: dict[str, Value] = {}
        spellings: dict[str, str] = {}
        problems: list[str] = []
        for spelling in sorted(values):
            try:
                parameter = self.get(spelling)
                name = parameter.name
                if name in spellings:
                    raise _named_twice(name, spellings[name], spelling)
                spellings[name] = spelling
                result[name] = parameter.check(values[spelling])
            except UserError as error:
                problems.append(error.message)
        if problems:
            raise UserError(INVALID_PARAMETER, joined(problems))
        return dict(sorted(result.items()))

    def restart_required(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of the names, sorted, that take effect only when the engine is restarted."""
        found = {parameter.name for name in names if (parameter := self.find(name)) is not None}
        return tuple(sorted(name for name in found if self.parameters[name].restart_required))

    def overridden(self, overrides: Sequence[Override]) -> "Rules":
        """These rules with an administrator's, of DatastoreVersion.spec.parameters; see overrides.

        Raises UserError whose one line names every override that is wrong.
        """
        result = dict(self.parameters)
        problems: list[str] = []
        seen: set[str] = set()
        for override in overrides:
            known = self.find(override.name)
            name = override.name if known is None else known.name
            if _normal(name) in seen:
                problems.append(f"{shown_name(name)} is named twice")
                continue
            seen.add(_normal(name))
            try:
                result[name] = overridden(known, override)
            except UserError as error:
                problems.append(error.message)
        if problems:
            raise UserError(INVALID_PARAMETER, joined(problems))
        return Rules(result)

    def _suggestion(self, name: str) -> str:
        normal = _normal(name[:128])  # difflib is quadratic in the length
        close = difflib.get_close_matches(normal, self._names, n=1)
        return f"; did you mean {self._names[close[0]]}?" if close else ""


def joined(problems: Sequence[str]) -> str:
    """One line of the first problems, at least one, and how many more there are."""
    line = ""
    for index, problem in enumerate(problems):
        more = f"; and {len(problems) - index} more"
        longer = f"{line}; {problem}" if line else problem
        if line and len(longer) + len(more) > MAX_MESSAGE_LENGTH:
            return line + more
        line = longer
    return line


@functools.lru_cache(maxsize=32)
def load(datastore: str, version: str) -> Rules:
    """The rules of a datastore version, by the templates' lookup order; read once.

    Raises Permanent where there are none.
    """
    return parse_rules(find(datastore, version, VALIDATION_RULES).read_text(encoding="utf-8"))


def parse_rules(text: str) -> Rules:
    """Reads the JSON of validation-rules.json. Raises ValueError for a file that is not right."""
    entries = [
        Parameter.model_validate(entry) for entry in json.loads(text)["configuration-parameters"]
    ]
    for entry in entries:
        problem = entry.inconsistency()
        if problem is not None:
            raise ValueError(f"{entry.name}: {problem}")
    parameters = {entry.name: entry for entry in entries}
    if len(parameters) != len(entries):
        raise ValueError("validation-rules.json names a parameter twice")
    return Rules(parameters)


def _normal(name: str) -> str:
    return name.lower().replace("-", "_")


def _named_twice(name: str, *spellings: str) -> UserError:
    shown = " and ".join(shown_value(spelling) for spelling in spellings)
    return UserError(INVALID_PARAMETER, f"{name} is named twice: {shown}")
