"""How large the parts of an upload are: pure arithmetic within S3's limits.

S3 takes at most 10,000 parts of 5 MiB to 5 GiB, 5 TiB in all. Small parts keep memory small, so
parts start as configured and only grow where the count would run out. Equal sizes are kept as
long as possible: some S3 servers want all parts but the last equal.
"""

from typing import Final

MIB: Final = 1 << 20
MIN_PART_BYTES: Final = 5 * MIB
MAX_PART_BYTES: Final = 5 << 30
MAX_PARTS: Final = 10_000
MAX_OBJECT_BYTES: Final = 5 << 40
DEFAULT_PART_BYTES: Final = 16 * MIB
_STEADY_PARTS: Final = 6_500
_STEP_PARTS: Final = 250


def first_part_bytes(configured_bytes: int, expected_bytes: int | None) -> int:
    """The size to begin with: as configured, or so that the steady parts hold what is expected.

    `expected_bytes` is the size of the plain stream where it is known: what is stored is smaller.
    """
    needed_bytes = -(-(expected_bytes or 0) // _STEADY_PARTS)
    whole_bytes = -(-needed_bytes // MIB) * MIB
    return min(max(configured_bytes, whole_bytes, MIN_PART_BYTES), MAX_PART_BYTES)


def part_bytes(number: int, first_bytes: int) -> int:
    """Size of part `number` (from 1): the first size 6,500 times, then doubled each 250 parts."""
    if number <= _STEADY_PARTS:
        return first_bytes
    doublings = 1 + (number - _STEADY_PARTS - 1) // _STEP_PARTS
    return min(first_bytes << doublings, MAX_PART_BYTES)
