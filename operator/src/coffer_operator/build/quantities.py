"""Kubernetes quantities in the form in which the API server keeps them.

Pure. What is applied must read back the same, or an idle instance would be applied again and
again.
"""

from typing import Final

_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = ("", "k", "M", "G", "T", "P", "E")


def size(size_bytes: int) -> str:
    """Bytes with the largest suffix that leaves a whole number: binary where one fits."""
    if size_bytes and size_bytes % 1024 == 0:
        return _reduce(size_bytes, 1024, _BINARY)
    return _reduce(size_bytes, 1000, _DECIMAL)


def cores(millis: int) -> str:
    """Thousandths of a CPU core: 250m, 2."""
    return f"{millis}m" if millis % 1000 else str(millis // 1000)


def _reduce(number: int, base: int, suffixes: tuple[str, ...]) -> str:
    step = 0
    while number and number % base == 0 and step + 1 < len(suffixes):
        number //= base
        step += 1
    return f"{number}{suffixes[step]}"
