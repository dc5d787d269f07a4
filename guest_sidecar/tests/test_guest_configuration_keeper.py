"""The keeper between a launcher that acts by itself and the files that it starts engines with."""

import asyncio
from pathlib import Path

from coffer_common.wire import FlavorSize, GuestConfig
from coffer_guest.configuration import folder
from coffer_guest.configuration.keeper import Keeper
from coffer_guest.configuration.record import Start
from coffer_guest.engine_state import View
from coffer_guest.engines.base import LaunchSpec, Site
from coffer_guest.engines.redis import Redis
from coffer_guest.launcher_client import LauncherClient
from coffer_guest.paths import Paths
from guest_configuration import RUNNING, request

CONFIG = GuestConfig(
    namespace="tests",
    instance="one",
    uid="u",
    group="coffer.dev",
    datastore="redis",
    version="7.0",
    manager="redis",
    port=6379,
    flavor=FlavorSize(ram_bytes=512 * 1024**2, vcpus=1),
    volume_size_bytes=1024**3,
)


class Restarting(LauncherClient):
    """The engine dies just before a command: what was the next start so far is the present one."""

    def __init__(self, path: Path, view: View) -> None:
        super().__init__(path, lambda: None)
        self.view = self.last = view

    async def prepare(self, spec: LaunchSpec) -> View:
        assert self.view is not None
        changes = {
            "revision": self.view.revision + 2,
            "generation": self.view.generation + 1,
            "configuration": self.view.next_configuration,
            "next_configuration": spec.configuration,
        }
        return self.take(self.view.model_copy(update=changes).model_dump())


async def test_what_an_engine_has_just_been_started_with_is_not_removed(tmp_path: Path) -> None:
    paths = Paths(volume=tmp_path, run=tmp_path)
    paths.private.mkdir()
    engine = Redis(Site(paths.data, paths.tmp, paths.run))
    starts = [Start(template="", request=request({"hz": hz}), port=6379) for hz in (20, 21)]
    former, next_one = (folder.write(paths, engine, start, {}) for start in starts)
    names = {"configuration": former.name, "next_configuration": next_one.name}
    launcher = Restarting(tmp_path / "socket", RUNNING.model_copy(update=names))
    turn_ended = asyncio.Event()
    keeper = Keeper(paths, launcher, lambda step: None, turn_ended.set)
    await keeper.adopt(CONFIG, engine, {})
    await keeper.accept(request({"hz": 22}))
    keeper.observe(launcher.view, answers=False, at_rest=False)
    turns = asyncio.create_task(keeper.run())
    try:
        await asyncio.wait_for(turn_ended.wait(), 20)
    finally:
        turns.cancel()
    assert launcher.view is not None
    assert launcher.view.configuration == next_one.name
    kept = {next_one.name, launcher.view.next_configuration}
    assert {path.name for path in paths.etc.iterdir()} == kept
