"""Whether values can fit the memory of a flavor, told before an engine gets them. Pure.

An engine that is set beyond its memory is killed by the kernel, once for each instance of the
group. Only what an engine takes outright is counted; that the rest fits is the template's part.
"""

from coffer_common.parameter import size_text
from coffer_common.wire import ConfigurationRequest, RejectedConfiguration, RejectionCause
from coffer_guest.configuration.record import Record, Request, reset
from coffer_guest.engines.base import Engine


def judged(record: Record, engine: type[Engine], ram_bytes: int) -> Record:
    """The record with its newest request rejected, if that cannot fit; judged anew with the ram.

    What counts instead is the newest of the former ones that fits.
    """
    if record.judged_bytes not in (None, ram_bytes):
        record = reset(record)
    wanted = record.wanted
    if wanted is None or record.rejected is not None or record.suspect is not None:
        return record
    words = _beyond(wanted, engine, ram_bytes)
    if words is None:
        return record
    former: list[Request] = [
        one
        for one in (record.live, record.good)
        if one is not None and _beyond(one, engine, ram_bytes) is None
    ]
    rejected = RejectedConfiguration(hash=wanted.hash, cause=RejectionCause.REFUSED, message=words)
    fallback = former[0] if former else None
    return record.model_copy(
        update={"rejected": rejected, "fallback": fallback, "judged_bytes": ram_bytes}
    )


def _beyond(request: ConfigurationRequest, engine: type[Engine], ram_bytes: int) -> str | None:
    """One line about values that take all of the memory or more; None where they fit."""
    values = {**request.defaults, **request.values}
    taken = {
        name: value
        for name in engine.outright
        if isinstance(value := values.get(name), int) and value > 0
    }
    total_bytes = sum(taken.values())
    if total_bytes < ram_bytes:
        return None
    names = sorted(taken, key=lambda name: (-taken[name], name))
    what = f"{names[0]} takes" if len(names) == 1 else f"{' and '.join(names)} together take"
    return (
        f"{what} {size_text(total_bytes)} of memory, and the flavor has {size_text(ram_bytes)}: "
        f"set less, or choose a larger flavor"
    )
