"""What a plan of an instance says, read for the tests."""

import json
from typing import Any

from coffer_operator.build.digest import digest
from coffer_operator.plan.model import (
    Plan,
)
from coffer_operator.plan.world import (
    World,
)


def writes(before: World, plan: Plan) -> list[str]:
    """What the plan would really write, after the skips that act does."""
    found = [f"delete {d.kind} {d.name}" for d in plan.deletes]
    found += ["certificate"] if plan.certificate else []
    for item in plan.apply:
        kind, name = item.obj["kind"], item.obj["metadata"]["name"]
        child = before.children.get((kind, name))
        if child is None or (not item.create_only and child.digest != digest(item.obj)):
            found.append(f"apply {kind} {name}")
    found += [f"annotate {a.name} {dict(a.annotations)}" for a in plan.annotate]
    found += [f"slice {s}" for s in plan.slices]
    found += [f"call {c}" for c in plan.calls]
    found += [f"operation {o.name}" for o in plan.operations]
    found += [f"remove {name}" for name in plan.expired_operations]
    found += ["start operation"] if plan.start_operation else []
    found += [f"event {e.reason}" for e in plan.events]
    present = before.instance.status.model_dump(by_alias=True, mode="json", exclude_none=True)
    present = {key: value for key, value in present.items() if value != []}
    if plan.status is not None and dict(plan.status) != present:
        found.append("status")
    return found


def conditions(plan: Plan) -> dict[str, tuple[str, str]]:
    """(status, reason) by type of condition."""
    assert plan.status is not None
    return {c["type"]: (c["status"], c["reason"]) for c in plan.status["conditions"]}


def guest_config(plan: Plan) -> dict[str, Any]:
    """What the plan tells the agent."""
    config = next(a.obj for a in plan.apply if a.obj["kind"] == "ConfigMap")
    content: dict[str, Any] = json.loads(config["data"]["instance.json"])
    return content
