"""The Plan: what `act` is to do, as data.

Order: deletes, certificate, apply, annotate, slices, calls, status, events. The calls do not
depend on one another: one that fails holds back no other. A plan moves an operation by at most one
step; what it cannot do yet it leaves to the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from coffer_common.resources.backup_storage import (
    BackupStorageSpec,
)
from coffer_common.wire import ConfigurationRequest, DatabaseRequest, EngineAction


@dataclass(frozen=True)
class Apply:
    """Server-side apply of one object, skipped where the child's digest equals the wanted one.

    `create_only`: the object is created where it is missing and left alone otherwise.
    """

    obj: Mapping[str, Any]
    create_only: bool = False


@dataclass(frozen=True)
class Delete:
    """Deletion of one very object."""

    kind: str
    name: str
    uid: str
    why: str
    grace_period_s: int | None = None


@dataclass(frozen=True)
class Annotate:
    """Merge patch of annotations and owner references, checked by resourceVersion or uid.

    For objects that an apply must not touch otherwise, such as the data volume.
    """

    kind: str
    name: str
    uid: str
    annotations: Mapping[str, str]
    owner_references: tuple[Mapping[str, Any], ...] | None = None  # all of them; None: leave them
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class IssueCertificate:
    """Make a certificate for the agent and store it in its Secret."""

    instance: str


@dataclass(frozen=True)
class EmptySlice:
    """Take the addresses out of the -rw slice, checked by resourceVersion."""

    name: str
    resource_version: str


@dataclass(frozen=True)
class FillSlice:
    """Put a pod's address into the -rw slice, checked by resourceVersion."""

    name: str
    resource_version: str
    address: str
    pod_name: str
    pod_uid: str
    node: str
    port: int


@dataclass(frozen=True)
class EngineCall:
    """POST /v1/engine/{action} with an idempotency token."""

    action: EngineAction
    token: str


@dataclass(frozen=True)
class EnsureDatabase:
    """PUT /v1/databases/{name}."""

    name: str
    request: DatabaseRequest


@dataclass(frozen=True)
class EnsureUser:
    """A user with a password and a binding Secret.

    The password comes from `password_secret` (name, key), else from the binding Secret where it
    exists, else it is drawn; then the Secret is written with `binding` as its other keys, and only
    then is the user set on the engine, to what the Secret has: two operators at once would else
    leave the password of one here and of the other there. No plan ever holds a password.
    """

    name: str
    host: str
    databases: tuple[str, ...]
    secret_name: str
    binding: Mapping[str, str]  # type, provider, host, port, database; username is `name`
    labels: Mapping[str, str]
    owner_reference: Mapping[str, Any]
    password_secret: tuple[str, str] | None = None
    revision: str = ""  # of what the spec gives the user; another one is another call

    @property
    def key(self) -> str:
        """What World.ensured_users has of a call that succeeded."""
        return f"{self.name}@{self.host}/{self.revision}"


@dataclass(frozen=True)
class PutConfiguration:
    """PUT /v1/configuration."""

    request: ConfigurationRequest


@dataclass(frozen=True)
class PutTask:
    """PUT /v1/tasks/{id}; `payload` gets the StorageAccess of `storage`, if any, as `storage`.

    The Secrets are read then: no plan holds what is in them.
    """

    id: str
    kind: str
    storage: BackupStorageSpec | None
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class CancelTask:
    """DELETE /v1/tasks/{id}."""

    id: str


Call = EngineCall | EnsureDatabase | EnsureUser | PutConfiguration | PutTask | CancelTask


@dataclass(frozen=True)
class EventNote:
    """A Kubernetes Event, on a transition only."""

    reason: str
    message: str
    warning: bool = False
    operation: str | None = None  # the Operation it is about, instead of the instance


@dataclass(frozen=True)
class OperationStatusPatch:
    """The wanted status of an Operation.

    `after_calls`: to be written only if every EngineCall of this plan succeeded; it is what the
    status speaks of.
    """

    name: str
    status: Mapping[str, Any]
    after_calls: bool = False


@dataclass(frozen=True)
class StartOperation:
    """Create an Operation of our own; one of that name that is there already is left alone."""

    obj: Mapping[str, Any]


@dataclass(frozen=True)
class GroupPlan:
    """What to do for a ConfigurationGroup now.

    `wake`: members, by name, whose own plans can go on now, or have something else to say.
    """

    status: Mapping[str, Any]  # the whole wanted status
    events: tuple[EventNote, ...] = ()
    wake: tuple[str, ...] = ()
    requeue_after_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """What to do now, and when to look again even if nothing happens."""

    deletes: tuple[Delete, ...] = ()
    apply: tuple[Apply, ...] = ()
    certificate: IssueCertificate | None = None  # before `apply`
    annotate: tuple[Annotate, ...] = ()
    slices: tuple[EmptySlice | FillSlice, ...] = ()
    calls: tuple[Call, ...] = ()
    status: Mapping[str, Any] | None = None  # the whole wanted status; None: leave it
    operations: tuple[OperationStatusPatch, ...] = ()
    expired_operations: tuple[str, ...] = ()  # to be removed: their time to live is over
    start_operation: StartOperation | None = None  # after `calls`
    events: tuple[EventNote, ...] = ()
    requeue_after_s: float | None = None
