"""ConfigurationGroups, their members and their Worlds for the tests of plan."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from coffer_common.resources.configuration import ConfigurationGroup
from coffer_common.resources.instance_status import Role
from coffer_common.wire import (
    ConfigurationRequest,
    ConfigurationStatus,
    Drift,
    RejectedConfiguration,
    RejectionCause,
)
from coffer_operator.plan.configuration import plan_configuration
from coffer_operator.plan.model import GroupPlan
from coffer_operator.plan.values import wanted_request
from coffer_operator.plan.world import GroupWorld, Member, World
from op_plan_worlds import NOW, catalogue, datastore_version, edited

DATASTORE = {"type": "mariadb", "version": "10.11"}
LIVE = {"max_connections": 50}
STATIC = {"innodb_log_buffer_size": "4M"}


def group_obj(
    values: dict[str, Any] | None = None, name: str = "conf", **spec: Any
) -> dict[str, Any]:
    return {
        "metadata": {"name": name, "namespace": "prod", "uid": "uid-conf", "generation": 1},
        "spec": {"datastore": DATASTORE, "values": values or {}} | spec,
    }


def group(values: dict[str, Any] | None = None, name: str = "conf", **spec: Any) -> Any:
    return ConfigurationGroup.model_validate(group_obj(values, name, **spec))


def with_group(before: World, values: dict[str, Any], **spec: Any) -> World:
    """The World with the instance attached to a group of these values."""
    attached = edited(before, configurationRef={"name": "conf"})
    return replace(attached, configuration_group=group(values, **spec))


def request_of(values: dict[str, Any]) -> ConfigurationRequest:
    return wanted_request(group(values), datastore_version(), catalogue()).request


def taken(wanted: str | None, live: str | None = None, *pending: str) -> ConfigurationStatus:
    return ConfigurationStatus(accepted=wanted, live=live, pending_restart=pending)


def refused(
    wanted: str, cause: RejectionCause = RejectionCause.REFUSED, live: str | None = None
) -> ConfigurationStatus:
    rejected = RejectedConfiguration(hash=wanted, cause=cause, message="no\n such value")
    return ConfigurationStatus(accepted=wanted, live=live, rejected=rejected)


def member(name: str, said: ConfigurationStatus | None = None, **fields: Any) -> Member:
    plain = Member(
        namespace="prod",
        name=name,
        role=Role.STANDALONE,
        version_name="mariadb-10.11",
        configuration=said if said is not None else ConfigurationStatus(),
        reachable=True,
    )
    return replace(plain, **fields)


def group_world(subject: ConfigurationGroup, *members: Member, **fields: Any) -> GroupWorld:
    plain = GroupWorld(now=NOW, group=subject, catalogue=catalogue(), members=members)
    return replace(plain, **fields)


def group_edited(before: GroupWorld, values: dict[str, Any], status: Any = None) -> GroupWorld:
    """The GroupWorld after an edit of the values, or after its status was written."""
    content = before.group.model_dump(by_alias=True, mode="json")
    content["spec"]["values"] = values
    content["metadata"]["generation"] += 1
    if status is not None:
        content["status"] = dict(status)
    return replace(before, group=ConfigurationGroup.model_validate(content))


def reported(before: GroupWorld, plan: GroupPlan) -> GroupWorld:
    content = before.group.model_dump(by_alias=True, mode="json")
    content["status"] = dict(plan.status)
    return replace(before, group=ConfigurationGroup.model_validate(content))


def group_conditions(plan: GroupPlan) -> dict[str, tuple[str, str]]:
    return {c["type"]: (c["status"], c["reason"]) for c in plan.status["conditions"]}


def states(plan: GroupPlan) -> dict[str, str]:
    return {one["name"]: one["state"] for one in plan.status.get("instances", [])}


def history(values: dict[str, Any]) -> dict[str, Any]:
    """The status of a group that had these values."""
    return dict(plan_configuration(group_world(group(values))).status)


# --- strategies ----------------------------------------------------------------------------------
VALUES = st.fixed_dictionaries(
    {},
    optional={
        "max_connections": st.sampled_from([5, "7", 0, "many", None, [1], 10**30]),
        "MAX-connections": st.just(6),
        "port": st.sampled_from([3310, "3306", 80]),
        "innodb_log_buffer_size": st.sampled_from(["4M", "x"]),
        "datadir": st.just("/x"),
        "max_conections": st.just(1),
    },
)
GOOD_VALUES = st.fixed_dictionaries(
    {},
    optional={
        "max_connections": st.sampled_from([5, "7"]),
        "wait_timeout": st.sampled_from([10, 20]),
        "port": st.sampled_from([3310, 3311]),
        "innodb_log_buffer_size": st.sampled_from(["4M", "8M"]),
    },
)
HASHES = st.sampled_from([None, "h1", "h2", request_of({}).hash, request_of(LIVE).hash])
SAID = st.builds(
    ConfigurationStatus,
    accepted=HASHES,
    live=HASHES,
    pending_restart=st.sampled_from([(), ("port",)]),
    rejected=st.none()
    | st.builds(
        RejectedConfiguration,
        hash=HASHES.filter(bool),
        cause=st.sampled_from(RejectionCause),
        message=st.sampled_from(["", "no\nway"]),
    ),
    drift=st.none()
    | st.just(Drift(name="x", found="1\n", restored="2", at="2026-11-22T11:00:00Z")),
    port=st.sampled_from([None, 3306, 3310]),
)
MEMBERS = st.lists(
    st.builds(
        Member,
        namespace=st.just("prod"),
        name=st.sampled_from([f"m{n}" for n in range(8)] + ["shop"]),
        role=st.sampled_from([None, *Role]),
        version_name=st.sampled_from([None, "mariadb-10.11", "mariadb-10.11", "redis-7.0", "x"]),
        configuration=st.none() | SAID,
        reachable=st.booleans(),
        held=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda m: m.name,
).map(tuple)


@st.composite
def groups(draw: st.DrawFn) -> ConfigurationGroup:
    """Any group at all, with any history."""
    datastore = draw(
        st.sampled_from(
            [DATASTORE, DATASTORE, {"type": "mariadb", "version": "9"}, {"type": "x"} | DATASTORE]
        )
    )
    content = group_obj(
        draw(VALUES), datastore=datastore, rollout={"maxConcurrent": draw(st.integers(1, 3))}
    )
    revisions = draw(st.lists(VALUES | GOOD_VALUES, max_size=10))
    content["status"] = {
        "history": [
            {"revision": 10 - n, "hash": "h", "time": "2026-11-22T11:00:00Z", "values": values}
            for n, values in enumerate(revisions)
        ]
    }
    return ConfigurationGroup.model_validate(content)
