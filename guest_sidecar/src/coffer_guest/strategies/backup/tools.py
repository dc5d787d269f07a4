"""Running a tool to its end, where its output is no stream of data."""

from collections.abc import Mapping, Sequence

from coffer_guest.pipeline.process import Check, ChildSource, Ending
from coffer_guest.pipeline.stop import Stop

_READ_BYTES = 1 << 16


def run(
    argv: Sequence[str],
    stop: Stop,
    check: Check = Ending.require_success,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Its output (the last 64 KiB). Raises ToolFailed, what `check` raises, what `stop` is."""
    child = ChildSource(argv, check, environment)
    output = bytearray()
    buffer = bytearray(_READ_BYTES)
    try:
        with memoryview(buffer) as view:
            while count := child.readinto(view, stop):
                output += view[:count]
                del output[:-_READ_BYTES]
        child.finish(stop)
    finally:
        child.kill()
    return output.decode(errors="replace")
