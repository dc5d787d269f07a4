"""What the tests of an instance's values ask of its plan."""

from dataclasses import replace
from typing import Any

from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.model import Plan, PutConfiguration
from coffer_operator.plan.world import World
from op_plan_cluster import APP, ready_world, settle_down
from op_plan_groups import (
    LIVE,
    group,
    request_of,
    with_group,
)
from op_plan_worlds import instance, world

NEW = request_of(LIVE).hash


def puts(plan: Plan) -> list[str]:
    return [call.request.hash for call in plan.calls if isinstance(call, PutConfiguration)]


def message(plan: Plan, kind: str = "ConfigurationApplied") -> str:
    assert plan.status is not None
    return str(next(c["message"] for c in plan.status["conditions"] if c["type"] == kind))


def attached(values: dict[str, Any] | None = None, **spec: Any) -> World:
    """A converged instance that is attached to a group just now."""
    return with_group(ready_world(), LIVE if values is None else values, **spec)


def converged(values: dict[str, Any]) -> World:
    return settle_down(attached(values), plan_instance, 4)


def new(values: dict[str, Any]) -> World:
    subject = world(instance(**APP, configurationRef={"name": "conf"}))
    return replace(subject, configuration_group=group(values))
