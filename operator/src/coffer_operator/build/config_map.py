"""The ConfigMap that tells an agent which instance it serves (wire.GuestConfig)."""

import json
from typing import Final

from coffer_common import naming
from coffer_common.wire import GuestConfig, RestoreWanted
from coffer_operator.build.identity import Blueprint, Object

FILE: Final = naming.INSTANCE_FILE.rsplit("/", 1)[1]


def guest_config(plan: Blueprint) -> GuestConfig:
    """What the agent is told."""
    identity = plan.identity
    return GuestConfig(
        namespace=identity.namespace,
        instance=identity.name,
        uid=identity.uid,
        group=identity.group,
        datastore=identity.datastore,
        version=plan.version,
        manager=plan.manager,
        port=plan.port,
        flavor=plan.flavor,
        volume_size_bytes=plan.volume_bytes,
        data_id=plan.data_id,
        restore=RestoreWanted(path=plan.restore) if plan.restore is not None else None,
        configuration=plan.configuration,
        read_write_slice=naming.read_write_slice(identity.group),
    )


def config_map(plan: Blueprint) -> Object:
    """The agent's ConfigMap.

    The data id is an annotation as well: the operator keeps annotations of children, not their
    contents, and it is one more place from which a lost volume can be told.
    """
    identity = plan.identity
    content = guest_config(plan).model_dump(mode="json", exclude_none=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": identity.metadata(
            naming.agent_config(identity.name),
            annotations={naming.ANNOTATION_DATA_ID: plan.data_id} if plan.data_id else None,
        ),
        "data": {FILE: json.dumps(content, sort_keys=True, indent=1) + "\n"},
    }
