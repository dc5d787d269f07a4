"""Kubernetes quantities, such as 10Gi or 250m, as exact numbers. Pure.

The grammar is that of k8s.io/apimachinery/pkg/api/resource: a decimal number, then a binary suffix
(Ki … Ei), a decimal one (n, u, m, k … E) or an exponent (e3, E-2).
"""

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Final

_QUANTITY: Final = re.compile(
    r"(?P<sign>[+-]?)(?P<number>[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_SUFFIXES: Final[dict[str | None, Fraction]] = {
    None: Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    **{
        letter: Fraction(10**power) for letter, power in zip("kMGTPE", range(3, 21, 3), strict=True)
    },
    **{f"{letter}i": Fraction(1024**i) for i, letter in enumerate("KMGTPE", start=1)},
}


@lru_cache(1024)  # the same few sizes stand in every catalogue and instance
def parse(text: str) -> Fraction:
    """The exact value of a quantity. Raises ValueError for what Kubernetes would not take."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a quantity such as 10Gi, 500M or 250m")
    number = match["number"]
    whole = Fraction(number + "0" if number.endswith(".") else number)
    factor = (
        Fraction(10) ** int(match["exponent"]) if match["exponent"] else _SUFFIXES[match["suffix"]]
    )
    return (-whole if match["sign"] == "-" else whole) * factor


def parse_bytes(text: str) -> int:
    """Bytes, rounded up as Kubernetes does (a volume is never smaller than asked for)."""
    return math.ceil(parse(text))


def parse_cores(text: str) -> Fraction:
    """CPU cores, rounded up to the millicore, the finest that Kubernetes schedules."""
    return Fraction(math.ceil(parse(text) * 1000), 1000)


def counted(number: int, noun: str) -> str:
    """`1 table`, `2 tables`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def readable(size_bytes: int) -> str:
    """Bytes as a person reads them: 512B, 1.5KiB, 12GiB."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f}{unit}" if value >= 10 or unit == "B" else f"{value:.1f}{unit}"
