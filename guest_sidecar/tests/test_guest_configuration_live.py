"""One engine process: brought to a target, whatever comes in between."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.wire import Value
from coffer_guest.configuration.decision import PORT, Wanted
from coffer_guest.configuration.live import Live
from coffer_guest.configuration.record import Process
from coffer_guest.engines.base import (
    EngineUnavailable,
    LiveOutcome,
    Refused,
    Setting,
    Site,
)
from coffer_guest.engines.mariadb import MariaDB
from guest_configuration import (
    NAMES,
)


# --- one process --------------------------------------------------------------------------------
class Server(MariaDB):
    """Keeps values; refuses 13, takes `static` at a start alone, and can die in the middle."""

    def __init__(self, values: dict[str, str]) -> None:
        super().__init__(Site(Path("/d"), Path("/t"), Path("/r")))
        self.values = values
        self.dies_after: int | None = None

    async def settings(self, names: object) -> dict[str, Setting]:
        assert isinstance(names, frozenset | set | dict)
        return {
            name: Setting(self.values.get(name, "0"), name != "delta", name not in self.values)
            for name in names
        }

    async def set_live(self, changes: Mapping[str, Value | None]) -> LiveOutcome:
        for count, name in enumerate(sorted(changes)):
            if count == self.dies_after:
                raise EngineUnavailable("the server has gone away")
            if changes[name] == 13:
                raise Refused(f"{name}: 13 is refused")
            self.values[name] = "0" if changes[name] is None else str(changes[name])
        return LiveOutcome({name: self.values[name] for name in changes})


class Bench:
    """One process, and what is on the volume about it."""

    def __init__(self, started: dict[str, Value]) -> None:
        self.server = Server({name: str(value) for name, value in started.items()})
        self.started = Wanted({**started, PORT: 1})
        self.process = Process(launcher="b", generation=1)

    async def store(self, process: Process) -> None:
        self.process = process

    async def none(self) -> dict[str, Value]:
        return {}

    async def lives(self) -> bool:
        return True

    def live(self) -> Live:
        """As a new agent makes it."""
        return Live(self.server, self.started, self.none, self.store, self.lives, lambda _: None)

    async def bring(self, values: Mapping[str, Value]) -> None:
        await self.live().bring(self.process, Wanted({**values, PORT: 1}))


SmallValues = st.dictionaries(st.sampled_from(NAMES[:3]), st.integers(1, 5))


@given(
    SmallValues,
    st.lists(st.tuples(SmallValues, st.none() | st.integers(0, 3)), max_size=4),
    SmallValues,
)
async def test_whatever_is_interrupted_the_last_target_is_all_there_is(
    started: dict[str, Value],
    tries: list[tuple[dict[str, Value], int | None]],
    last: dict[str, Value],
) -> None:
    bench = Bench(started)
    await bench.bring(started)
    for values, dies_after in tries:
        bench.server.dies_after = dies_after
        try:
            await bench.bring(values)
        except EngineUnavailable:
            assert bench.process.uncertain
    bench.server.dies_after = None
    await bench.bring(last)
    found = {name: value for name, value in bench.server.values.items() if value != "0"}
    assert found == {name: str(value) for name, value in last.items()}
    assert bench.process.uncertain == ()
    assert await bench.live().look(bench.process) == []


async def test_a_refusal_names_what_is_uncertain_and_the_former_one_mends_it() -> None:
    bench = Bench({"alpha": 1})
    await bench.bring({"alpha": 1})
    with pytest.raises(Refused, match="gamma"):
        await bench.bring({"alpha": 2, "beta": 3, "gamma": 13})
    assert bench.process.uncertain == ("alpha", "beta", "gamma")
    await bench.bring({"alpha": 1})
    assert {name: value for name, value in bench.server.values.items() if value != "0"} == {
        "alpha": "1"
    }


class Linked(Server):
    """Of alpha follows beta, until beta is set to something of the same ten, as with collations."""

    async def set_live(self, changes: Mapping[str, Value | None]) -> LiveOutcome:
        outcome = await super().set_live(changes)
        if "beta" in changes:
            self.values["alpha"] = str(int(self.values["beta"]) // 10)
        elif "alpha" in changes:
            self.values["beta"] = str(int(self.values["alpha"]) * 10)
        return outcome


async def test_what_a_value_changes_beside_is_set_again() -> None:
    bench = Bench({"alpha": 1, "beta": 15})
    bench.server = Linked(bench.server.values)
    bench.process = bench.process.model_copy(update={"uncertain": ("alpha",)})
    await bench.bring({"alpha": 1, "beta": 15})
    assert (bench.server.values["alpha"], bench.server.values["beta"]) == ("1", "15")
    assert bench.process.uncertain == ()
    assert await bench.live().look(bench.process) == []


async def test_values_that_exclude_each_other_are_refused_and_the_former_ones_come_back() -> None:
    bench = Bench({"alpha": 1, "beta": 15})
    bench.server = Linked(bench.server.values)
    await bench.bring({"alpha": 1, "beta": 15})
    with pytest.raises(Refused, match="alpha: refused: with that the engine makes beta '20'"):
        await bench.bring({"alpha": 2, "beta": 15})
    await bench.bring({"alpha": 1, "beta": 15})
    assert (bench.server.values["alpha"], bench.server.values["beta"]) == ("1", "15")


async def test_what_somebody_else_set_is_found() -> None:
    bench = Bench({"alpha": 1, "beta": 2})
    await bench.bring({"alpha": 1, "beta": 2, "delta": 4})
    assert bench.process.pending == ("delta",)
    bench.server.values |= {"alpha": "7", "delta": "8"}
    (found,) = await bench.live().look(bench.process)
    assert (found.name, found.found, found.wanted) == ("alpha", "7", "1")
    await bench.bring({"alpha": 1, "beta": 2})
    assert bench.server.values["alpha"] == "1"
