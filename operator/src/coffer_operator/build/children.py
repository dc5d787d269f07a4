"""All objects of an instance but the data volume, in the order in which they are needed."""

from coffer_operator.build.access import role, role_binding, service_account
from coffer_operator.build.config_map import config_map
from coffer_operator.build.endpoint_slice import read_write_slice
from coffer_operator.build.identity import Blueprint, Object
from coffer_operator.build.network_policy import network_policy
from coffer_operator.build.service import (
    instance_service,
    read_only_service,
    read_write_service,
)
from coffer_operator.build.stateful_set import stateful_set


def children(plan: Blueprint) -> tuple[Object, ...]:
    """The names first that others could have taken; the StatefulSet last, since it starts work."""
    identity = plan.identity
    return (
        instance_service(identity, plan.service_port),
        read_write_service(identity, plan.service_port),
        read_only_service(identity, plan.service_port),
        read_write_slice(identity),
        network_policy(identity, plan.service_port, plan.operator_namespace),
        service_account(identity, plan.pull_secrets),
        role(identity),
        role_binding(identity),
        config_map(plan),
        stateful_set(plan),
    )
