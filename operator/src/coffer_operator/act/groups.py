"""Carries out the plans of ConfigurationGroups: their status and the Events about them."""

from functools import partial

from coffer_operator.act.report import Reporter
from coffer_operator.act.step import Steps
from coffer_operator.kube.api import CONFIGURATION_GROUP, Key
from coffer_operator.plan.model import GroupPlan
from coffer_operator.plan.world import GroupWorld


class GroupReporter:
    """Reports what the instances of a group made of it."""

    def __init__(self, reporter: Reporter, steps: Steps) -> None:
        self._reporter = reporter
        self._step = steps.step

    async def report(self, key: Key, world: GroupWorld, plan: GroupPlan) -> None:
        """Status, where it differs, then Events. Raises StepError."""
        about = world.group.metadata
        write = partial(
            self._reporter.patch_status,
            key,
            CONFIGURATION_GROUP,
            about,
            world.group.status,
            plan.status,
        )
        await self._step("status", write, (CONFIGURATION_GROUP, key.name))
        for note in plan.events:
            await self._step(
                "event", partial(self._reporter.announce, CONFIGURATION_GROUP, about, note)
            )
