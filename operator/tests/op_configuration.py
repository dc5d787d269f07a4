"""Groups on the stage of the operator's tests."""

from typing import Any

from coffer_operator.kube.api import (
    CONFIGURATION_GROUP,
    INSTANCE,
    Object,
)
from op_stage import NS, Stage


def make_group(stage: Stage, **values: Any) -> Object:
    datastore = {"type": "mariadb", "version": "10.11"}
    return stage.write(
        CONFIGURATION_GROUP,
        {
            "metadata": {"name": "tuned", "namespace": NS},
            "spec": {"datastore": datastore, "values": values},
        },
    )


def attach(stage: Stage, name: str = "shop", group: str | None = "tuned") -> None:
    reference = {"name": group} if group else None
    stage.server.patch(INSTANCE, NS, name, {"spec": {"configurationRef": reference}}, manager="u")
