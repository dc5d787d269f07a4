"""Kubernetes Events, as objects. Pure."""

from datetime import datetime

from coffer_common import naming
from coffer_common.resources.base import Metadata
from coffer_operator.kube.api import Object
from coffer_operator.plan.model import EventNote

MAX_MESSAGE = 1024  # of Kubernetes


def event(kind: str, about: Metadata, note: EventNote, at: datetime) -> Object:
    """An Event about an object of ours.

    The name follows from what is announced and from the version of the object that led to it:
    the same decision, taken again after a crash, makes the same Event, once.
    """
    stamp = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    identity = f"{about.uid}/{about.resource_version}/{note.reason}/{note.message}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{about.name}.{naming.short_hash(identity, 16)}",
            "namespace": about.namespace,
        },
        "involvedObject": {
            "apiVersion": naming.API_VERSION,
            "kind": kind,
            "namespace": about.namespace,
            "name": about.name,
            "uid": about.uid,
            "resourceVersion": about.resource_version,
        },
        "type": "Warning" if note.warning else "Normal",
        "reason": note.reason,
        "message": note.message[:MAX_MESSAGE],
        "source": {"component": "coffer-operator"},
        "reportingComponent": "coffer-operator",
        "reportingInstance": "",
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
    }
