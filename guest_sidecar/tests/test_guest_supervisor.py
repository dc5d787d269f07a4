"""The loop beside an engine that may be started anew between any two of its lines."""

import asyncio
from pathlib import Path

import pytest

from coffer_common.wire import EngineState
from coffer_guest.board import Board
from coffer_guest.configuration.keeper import Keeper
from coffer_guest.engine_state import Probes, View
from coffer_guest.engines.base import Site
from coffer_guest.engines.redis import Redis
from coffer_guest.health import Health
from coffer_guest.launcher_client import LauncherClient
from coffer_guest.paths import Paths
from coffer_guest.settings import Settings
from coffer_guest.supervisor import Supervisor
from guest_configuration import RUNNING

NEXT = RUNNING.model_copy(update={"generation": 2})
OTHERS = (
    NEXT,
    RUNNING.model_copy(update={"boot_id": "another"}),
    RUNNING.model_copy(update={"state": "back_off"}),
    None,
)


@pytest.mark.parametrize("other", OTHERS)
def test_an_answer_is_of_the_process_that_was_asked(other: View | None) -> None:
    health = Health()
    health.follow(RUNNING)
    health.probes = Probes(answered=True)
    assert health.probes_of(RUNNING.model_copy(update={"revision": 9})).answered
    assert health.probes_of(other) == Probes()


class Launcher(LauncherClient):
    """Notes of which processes it is told that they answered."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, lambda: None)
        self.view = self.last = RUNNING
        self.told: list[int] = []

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def answered(self, generation: int) -> None:
        self.told.append(generation)


class Answering(Redis):
    """Answers, and by then the launcher says something else."""

    def __init__(self, paths: Paths, launcher: Launcher, then: View | None) -> None:
        super().__init__(Site(paths.data, paths.tmp, paths.run))
        self._launcher, self._then = launcher, then

    async def probe(self, timeout_s: float) -> str:
        self._launcher.view = self._then
        return "7.0.0"


@pytest.mark.parametrize("then", [RUNNING, *OTHERS])
async def test_only_of_the_process_that_was_asked_is_it_told_that_it_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: View | None
) -> None:
    told: list[bool] = []

    def observe(_keeper: Keeper, _view: View | None, *, answers: bool, at_rest: bool) -> None:
        told.append(answers)

    async def data_found() -> None:
        raise AssertionError("there is no configuration to look for data with")

    def end_after_a_round() -> None:
        running.cancel()

    monkeypatch.setattr(Keeper, "observe", observe)
    paths = Paths(volume=tmp_path, run=tmp_path, instance_file=tmp_path / "none")
    board = Board("1", "b", "p")
    supervisor = Supervisor(Settings(paths), board, lambda _: None, data_found, end_after_a_round)
    supervisor.launcher = launcher = Launcher(paths.launcher_socket)
    supervisor.engine = Answering(paths, launcher, then)
    running = asyncio.create_task(supervisor.run())
    await asyncio.wait([running], timeout=20)
    same = then == RUNNING
    assert told == [same]
    assert launcher.told == ([1] if same else [])
    assert (board.status.engine.state is EngineState.RUNNING) is same
