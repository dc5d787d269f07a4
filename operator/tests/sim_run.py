"""One run: a seed, a scenario, faults, calm, and what must hold then.

Replays exactly: everything follows from the seed, in virtual time.
"""

import asyncio
import random
from dataclasses import dataclass
from typing import Final

from sim_checks import unfulfilled
from sim_checks_backups import BackupRules, unfinished
from sim_checks_configuration import untold
from sim_checks_schedules import ScheduleRules, unsettled
from sim_loop import StuckError, run_virtual
from sim_rules import Rules, leaked_passwords
from sim_stories import STORIES, Story, delete_namespace
from sim_stories_backups import BACKUP_SHARE, Backups, BackupStory, trouble
from sim_stories_backups import STORIES as BACKUP_STORIES
from sim_stories_dumps import DUMP_STORIES
from sim_stories_groups import GROUP_STORIES, GroupStory, disturb
from sim_stories_schedules import SCHEDULE_STORIES
from sim_user import GroupWish, User, Wish
from sim_world import World, capture_log

CONVERGE_S: Final = 45 * 60.0  # after the last fault, for everything to be as asked for
IDLE_S: Final = 30 * 60.0  # in which nothing is written
_LOOK_S: Final = 5.0
PROBES: Final = 200  # requests in IDLE_S about an instance whose name is taken: three a look
SETTLE_S: Final = 120.0
GROUP_SHARE: Final = 0.35  # of the runs are about a ConfigurationGroup


class SimulationFailedError(AssertionError):
    """A run went wrong; the message says how to replay it and shows what happened last."""

    def __init__(self, seed: int, wrong: list[str], lines: list[str]) -> None:
        self.wrong = wrong
        trace = "\n".join(lines)
        what = "\n  ".join(wrong)
        super().__init__(
            f"seed {seed}:\n  {what}\n\nlast actions (virtual seconds):\n{trace}\n\n"
            f"replay: PYTHONHASHSEED=0 COFFER_SIM_SEEDS={seed} pytest -m simulation operator/tests"
        )


@dataclass(frozen=True)
class Result:
    """Figures of a run, for whoever explores."""

    seed: int
    stories: tuple[str, ...]
    virtual_s: float
    requests: int


def run_seed(seed: int) -> Result:
    """Run one seed; raises SimulationFailedError."""
    result: Result = run_virtual(_run(seed))
    return result


async def _run(seed: int) -> Result:
    world = World(seed)
    undo = capture_log(world.book)
    try:
        scenario, rules = Scenario(world), Rules(world)
        BackupRules(world)
        ScheduleRules(world)
        await scenario.play()
        wrong = [*await _converge(world, scenario)]
        if not wrong:
            wrong += await _stay_idle(world, scenario, rules)
        wrong += world.book.violations + world.around.violations
        wrong += rules.too_many_pods(scenario.wishes) + rules.too_many_requests()
        wrong += rules.unasked_restarts() + rules.unasked_operations()
        wrong += leaked_passwords(world)
        for life in world.alive():
            await world.kill_operator(life)
    except StuckError as error:
        wrong = [f"the simulation is stuck: {error}"]
    finally:
        undo()
    if wrong:
        raise SimulationFailedError(seed, wrong, list(world.book.lines))
    return Result(
        seed,
        tuple(scenario.titles),
        asyncio.get_running_loop().time(),
        len(world.book.requests),
    )


class Scenario:
    """The stories of a few instances, and the faults around them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._rng = world.rng("scenario")
        self.wishes: list[Wish] = []
        self.groups: list[GroupWish] = []
        self.backups: list[Backups] = []
        self.titles: list[str] = []

    def unfulfilled(self) -> list[str]:
        """What is not yet as it was asked for."""
        world = self._world
        return [
            *(line for wish in self.wishes for line in unfulfilled(world, wish)),
            *(line for group in self.groups for line in untold(world, group, self.wishes)),
            *(line for backups in self.backups for line in unfinished(world, backups)),
            *unsettled(world),
        ]

    async def play(self) -> None:
        """Returns when all stories are told and all faults have stopped."""
        rng = self._rng
        self._world.start_operator()
        chaos = [
            asyncio.create_task(self._operators_die(), name="chaos: operators"),
            asyncio.create_task(self._api_goes_away(), name="chaos: API server"),
        ]
        if self._world.rng("backups").random() < BACKUP_SHARE:
            stories = (*BACKUP_STORIES, *DUMP_STORIES, *SCHEDULE_STORIES)
            tales = [self._tell_of_backups(rng.choice(stories))]
        elif rng.random() < GROUP_SHARE:
            tales = [self._tell_of_group(rng.choice(GROUP_STORIES), rng.choice((2, 3, 4)))]
        else:
            tales = [
                self._tell(
                    rng.choice(STORIES), Wish(rng.choice(("team-a", "team-b")), f"db-{number}")
                )
                for number in range(rng.choice((1, 1, 2, 2, 3)))
            ]
        if rng.random() < 0.1:
            self._world.make_namespace("team-c")
            tales.append(self._tell(delete_namespace, Wish("team-c", "db-c")))
        await asyncio.gather(*tales)
        await asyncio.sleep(rng.uniform(0, 120))
        for task in chaos:
            task.cancel()
        await asyncio.gather(*chaos, return_exceptions=True)
        await self._calm()

    async def _tell(self, story: Story, wish: Wish) -> None:
        user = User(self._world, random.Random(self._rng.getrandbits(64)))
        self.wishes.append(wish)
        self.titles.append(story.__name__)
        self._world.book.log(f"story of {wish.label}: {story.__name__}")
        await story(user, wish)

    async def _tell_of_group(self, story: GroupStory, size: int) -> None:
        user = User(self._world, random.Random(self._rng.getrandbits(64)))
        group = GroupWish("team-a", "conf")
        wishes = [Wish("team-a", f"db-{number}") for number in range(size)]
        self.groups.append(group)
        self.wishes += wishes
        self.titles.append(story.__name__)
        self._world.book.log(f"story of {size} instances: {story.__name__}")
        fate = User(self._world, random.Random(self._rng.getrandbits(64)))
        disturbing = asyncio.create_task(disturb(fate, wishes), name="disturbances")
        if self._rng.random() < 0.4:
            disturbing.cancel()
        await story(user, group, wishes)
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)

    async def _tell_of_backups(self, story: BackupStory) -> None:
        user = User(self._world, random.Random(self._rng.getrandbits(64)))
        fate = User(self._world, random.Random(self._rng.getrandbits(64)))
        self._world.make_namespace("team-d")
        wish, backups = Wish("team-d", "db"), Backups("team-d", [], [])
        self.backups.append(backups)
        self.titles.append(story.__name__)
        self._world.book.log(f"story of backups: {story.__name__}")
        disturbing = asyncio.create_task(trouble(fate, wish), name="trouble")
        if self._rng.random() < 0.3:
            disturbing.cancel()
        await story(user, wish, backups)
        await user.pause(0, 300)
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        self.wishes += [wish, *(restored for restored, _ in backups.restored)]

    async def _calm(self) -> None:
        world = self._world
        world.book.log("no more faults")
        world.faults.stop()
        world.around.bucket.away, world.around.bucket.failing = False, 0.0
        await self._leave_one()
        for node in world.kubelets.nodes.values():
            if not (node.connected and node.powered):
                world.kubelets.recover_node(node.name)

    async def _leave_one(self) -> None:
        """One operator is left to work: the one that leads, if any does."""
        world = self._world
        alive = world.alive()
        leading = [life for life in alive if life.identity == world.lease_holder()]
        for life in alive:
            life.die_after(None)
            life.api.cut(False)
            world.disturbed()
            if life is not (leading or alive)[-1]:
                await world.kill_operator(life)
        if not alive:
            world.start_operator()

    # --- faults ----------------------------------------------------------------------------------

    async def _operators_die(self) -> None:
        """They die, are cut off, and are two where a Lease keeps them apart."""
        rng, world = self._world.rng("deaths"), self._world
        if rng.random() < 0.3:
            return
        pace_s = rng.choice((5.0, 30.0, 120.0))
        while True:
            await asyncio.sleep(rng.expovariate(1 / pace_s))
            alive = world.alive()
            if not alive:
                world.start_operator()
                continue
            life = rng.choice(alive)
            fate = rng.random()
            if fate < 0.2 and world.with_lease and len(alive) == 1:
                world.start_operator()
            elif fate < 0.4:
                world.book.log(f"op{life.number} is cut off")
                life.api.cut(True)
                await asyncio.sleep(rng.uniform(2, 40))
                life.api.cut(False)
                world.disturbed()
            else:
                if fate < 0.8:
                    life.die_after(rng.randint(0, 12))
                    await asyncio.wait([life.task], timeout=rng.uniform(1, 60))
                await world.kill_operator(life)

    async def _api_goes_away(self) -> None:
        """The API server goes away for up to a minute, or forgets its history."""
        rng, world = self._world.rng("outages"), self._world
        while True:
            await asyncio.sleep(rng.expovariate(1 / 120.0))
            if rng.random() < 0.5:
                world.book.log("the API server is away")
                world.faults.api_away = True
                world.server.history.end_watches()
                await asyncio.sleep(rng.uniform(1, 60))
                if rng.random() < 0.5:
                    world.server.history.compact()  # only a list tells what went meanwhile
                world.faults.api_away = False
                world.disturbed()
                world.book.log("the API server is back")
            else:
                world.book.log("the API server forgets its history")
                world.server.history.compact()
                world.server.forget_pages()
                if rng.random() < 0.5:
                    world.server.history.end_watches()


async def _converge(world: World, scenario: Scenario) -> list[str]:
    """Wait until every wish is fulfilled; what is not after the deadline."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + CONVERGE_S
    while True:
        wrong = scenario.unfulfilled()
        if not wrong:
            return []
        if world.book.violations or loop.time() > deadline:
            return wrong
        await asyncio.sleep(_LOOK_S)


async def _stay_idle(world: World, scenario: Scenario, rules: Rules) -> list[str]:
    """After a moment for the last writes nothing is asked of the API server any more."""
    await asyncio.sleep(SETTLE_S)
    wrong = await rules.asked_while_idle(scenario.wishes, IDLE_S, PROBES)
    return wrong + scenario.unfulfilled()
