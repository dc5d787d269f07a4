"""What requests to the API server say: merge patches and label selectors. Pure."""

from collections.abc import Mapping
from functools import cache
from typing import Any


def merge_patched(value: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(value) if isinstance(value, Mapping) else {}
    for name, inner in patch.items():
        if inner is None:
            result.pop(name, None)
        else:
            result[name] = merge_patched(result.get(name), inner)
    return result


def selects(selector: str, labels: Mapping[str, str]) -> bool:
    """Whether labels match: `a=b`, `a!=b`, `a`, `!a`, `a in (b,c)`; comma-joined."""
    for term in _terms(selector):
        if " in " in term:
            name, _, values = term.partition(" in ")
            if labels.get(name) not in [v.strip() for v in values.strip(" ()").split(",")]:
                return False
        elif "!=" in term:
            name, _, value = term.partition("!=")
            if labels.get(name) == value:
                return False
        elif "=" in term:
            name, _, value = term.partition("=")
            if labels.get(name) != value.removeprefix("="):
                return False
        elif (term.removeprefix("!") in labels) == term.startswith("!"):
            return False
    return True


@cache
def _terms(selector: str) -> tuple[str, ...]:
    terms: list[str] = []
    depth, term = 0, ""
    for letter in selector:
        depth += (letter == "(") - (letter == ")")
        if letter == "," and not depth:
            terms.append(term.strip())
            term = ""
        else:
            term += letter
    if term.strip():
        terms.append(term.strip())
    return tuple(terms)
