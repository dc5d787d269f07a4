"""The guest API: what operator and agent say to each other (JSON over mutual TLS).

Owns the models and the paths, nothing that sends or receives. Unknown fields are ignored on both
sides, so that an operator and an agent one release apart understand each other.
"""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

API_PREFIX: Final = "/v1"
STATUS_PATH: Final = f"{API_PREFIX}/status"  # GET ?seen=<etag>&wait=<s>: long poll
ENGINE_PATH: Final = f"{API_PREFIX}/engine"  # POST /{start,stop,restart,reset}
DATABASES_PATH: Final = f"{API_PREFIX}/databases"  # GET; PUT and DELETE /{name}
USERS_PATH: Final = f"{API_PREFIX}/users"  # GET; PUT and DELETE /{name}?host=
TASKS_PATH: Final = f"{API_PREFIX}/tasks"  # PUT, GET and DELETE /{id}
CONFIGURATION_PATH: Final = f"{API_PREFIX}/configuration"  # PUT
CONFIGURATION_DEFAULTS_PATH: Final = f"{API_PREFIX}/configuration/defaults"  # GET
LOGS_PATH: Final = f"{API_PREFIX}/logs"  # GET /{name}


Value = bool | int | float | str  # of an engine's parameter


class Wire(BaseModel):
    """Base of all messages: immutable, lenient towards fields of a newer peer."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class FlavorSize(Wire):
    """The part of a Flavor that templates compute with."""

    ram_bytes: int
    vcpus: float


class ConfigurationRequest(Wire):
    """Body of PUT /v1/configuration: the layers above the template; nothing of others remains.

    The agent keeps it on the volume before it answers; what comes of it is in its status. Values
    are as rules.Parameter.check returns them. `restart_required` names parameters, of these, that
    must not be set live even where the engine would allow it.
    """

    hash: str  # of all that follows; the operator's
    group: str | None = None  # the ConfigurationGroup that `values` come from
    defaults: dict[str, Value] = Field(default_factory=dict)  # of the DatastoreVersion
    values: dict[str, Value] = Field(default_factory=dict)
    restart_required: tuple[str, ...] = ()


class RejectionCause(StrEnum):
    """Why a configuration is not in force."""

    REFUSED = "Refused"  # the engine did not take a value
    DID_NOT_START = "DidNotStart"


class RejectedConfiguration(Wire):
    """A configuration that is not in force; the former one is."""

    hash: str
    cause: RejectionCause
    message: str  # one line, of the engine where it said any


class Drift(Wire):
    """A value that somebody changed inside the engine, and that was put right."""

    name: str
    found: str
    restored: str
    at: str  # RFC 3339
    others: tuple[str, ...] = ()  # parameters that were put right with it


class ConfigurationStatus(Wire):
    """What became of the configuration.

    `accepted`: hash of the request on the volume; None: there is none, the template alone counts.
    `live`: hash of the one in force, in the running engine (apart from `pending_restart`) or, when
    none runs, at its next start. `accepted` != `live`: at work, or `rejected`.
    """

    accepted: str | None = None
    live: str | None = None
    pending_restart: tuple[str, ...] = ()  # by name
    rejected: RejectedConfiguration | None = None
    drift: Drift | None = None  # the latest one
    port: int | None = None  # that the running engine was started with
    hindered: str | None = None  # why `accepted` is not in force after a long time; tried on


class RestoreWanted(Wire):
    """An empty volume is laid out from this backup, and from nothing else."""

    path: str  # below the storage's prefix


class GuestConfig(Wire):
    """What an agent is told by the mounted file `naming.INSTANCE_FILE`; never a secret.

    `data_id` is None until the operator has seen the volume laid out; from then on the agent
    refuses any other volume. The agent reads the file again when it changes.
    """

    namespace: str
    instance: str
    uid: str  # of the DatabaseInstance
    group: str
    datastore: str
    version: str
    manager: str  # the engine plugin
    port: int
    flavor: FlavorSize
    volume_size_bytes: int
    data_id: str | None = None
    restore: RestoreWanted | None = None
    configuration: ConfigurationRequest | None = None  # where the volume has none of this uid
    read_write_slice: str | None = None  # EndpointSlice that the source's agent writes


class DataState(StrEnum):
    """What the agent found on the volume."""

    UNKNOWN = "Unknown"  # not looked yet, or cannot tell
    PREPARING = "Preparing"
    AWAITING_RESTORE = "AwaitingRestore"  # empty, and to be laid out by the task `restore`
    LAID_OUT = "LaidOut"
    FOREIGN = "Foreign"  # other datastore, major version or data id than expected
    LOST = "Lost"  # a data id is expected and the volume is empty
    FAILED = "Failed"  # laying out failed; `message` says why


class EngineState(StrEnum):
    """What the launcher and a query say of the engine process."""

    UNKNOWN = "Unknown"  # the launcher cannot be reached
    WAITING = "Waiting"  # never started in this launcher's life
    STARTING = "Starting"  # the process runs, it does not answer yet
    RUNNING = "Running"  # it answers a query
    UNRESPONSIVE = "Unresponsive"  # it has answered, the process lives, it does not answer now
    STOPPED = "Stopped"  # stopped by request
    CRASHED = "Crashed"  # died; the launcher starts it again at once
    CRASH_LOOP = "CrashLoop"  # died again and again; the launcher's container exits


class DataStatus(Wire):
    """The volume, as the agent sees it."""

    state: DataState
    data_id: str | None = None
    message: str = ""
    size_bytes: int | None = None
    used_bytes: int | None = None


class EngineStatus(Wire):
    """The engine process, as launcher and a query show it."""

    state: EngineState
    version: str | None = None
    pid: int | None = None
    started_at: str | None = None  # RFC 3339, of the running process
    restarts: int = 0  # unasked ones in this launcher's life
    last_exit: str | None = None  # "signal 9", "exit 1"
    message: str = ""
    restarted_for: str | None = None  # the latest token a restart was done for


class StorageAccess(Wire):
    """Where objects are, and what opens them. Sent with a request, never kept or logged."""

    strategy: str  # name in the entry point group coffer.storage
    settings: Annotated[dict[str, JsonValue], Field(repr=False)]  # of the strategy
    prefix: str = ""
    current_key: str  # id of the key that new backups get
    keys: Annotated[dict[str, str], Field(repr=False)]  # id to 32 bytes in base64
    part_size_bytes: int | None = None
    concurrency: int | None = None
    rate_limit_bytes: int | None = None  # per second


class BackupTask(Wire):
    """Payload of the task `backup`; its result is a BackupResult."""

    storage: StorageAccess
    backup_id: str  # uid of the Backup
    instance: dict[str, str]  # uid, name, namespace
    strategy: str  # name in the entry point group coffer.backup
    parent: str | None = None  # path below the prefix; None: a full one
    databases: tuple[str, ...] = ()  # of a logical backup; empty: all


class BackupResult(Wire):
    """What a backup came to be; from its manifest."""

    path: str  # below the prefix: <instance uid>/base/<backup uid>
    location: str  # URL, without credentials
    type: Literal["full", "incremental"]
    strategy: str
    size_bytes: int
    plain_bytes: int
    plain_sha256: str
    manifest_digest: str
    key_id: str
    datastore: str
    engine_version: str
    data_id: str
    position: dict[str, str] = Field(default_factory=dict)  # gtid, binlogFile, lsnFrom, lsnTo …
    parent: str | None = None
    depth: int = 0
    why_full: str = ""  # a full one was taken where an increment was asked for: the reason


class RestoreTask(Wire):
    """Payload of `restore` (a volume from a backup and what it needs) and of `restoreDump`."""

    storage: StorageAccess
    path: str  # of the backup to restore; the chain is found from it
    digest: str | None = None  # of its manifest, where it is recorded
    whole: bool = False  # compare the checksum of each whole stream, too: slower
    databases: tuple[str, ...] = ()  # restoreDump: only these of it; empty: all


class StorageOperation(StrEnum):
    """What `python -m coffer_guest.storage_worker` does with a storage."""

    PROBE = "probe"  # write, read, list and delete
    FIND = "find"  # the backups below the prefix
    SHOW = "show"  # one backup: authentic, its key known, its data there
    SCRUB = "scrub"  # the same, and every byte of it read
    DELETE = "delete"
    SWEEP = "sweep"  # what attempts that died have left
    REWRAP = "rewrap"  # wrap a backup's key by the current one


class StorageRequest(Wire):
    """Standard input of the storage worker, one line; its answer is a StorageAnswer."""

    operation: StorageOperation
    storage: StorageAccess
    path: str = ""  # of a backup, below the prefix
    digest: str | None = None  # of its manifest, where it is recorded
    older_than_s: int = 86400  # sweep
    running: tuple[str, ...] = ()  # sweep: ids of backups that are being taken


class StorageAnswer(Wire):
    """Last line of the storage worker's output, and the container's termination message."""

    result: dict[str, JsonValue] | None = None  # None: it failed
    message: str = ""
    reason: str = ""  # CamelCase, of a failure
    permanent: bool = False  # trying again would fail alike


class TaskState(StrEnum):
    """Life of a task."""

    RUNNING = "Running"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class TaskStatus(Wire):
    """One long piece of work, in a child process of the agent."""

    id: str
    kind: str
    state: TaskState
    started_at: str
    finished_at: str | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    message: str = ""
    reason: str = ""  # CamelCase, of a failure
    permanent: bool = False  # trying again would fail alike
    result: dict[str, JsonValue] | None = None  # of a completed task


class TaskRequest(Wire):
    """Body of PUT /v1/tasks/{id}; the same id again is the same task.

    `payload` may hold secrets: it goes to the task's process and nowhere else.
    """

    kind: str
    arguments: dict[str, str] = Field(default_factory=dict)
    payload: Annotated[dict[str, JsonValue], Field(repr=False)] = Field(default_factory=dict)


class OfferedStrategy(Wire):
    """A backup strategy that an agent's image has for its engine."""

    name: str  # in the entry point group coffer.backup
    incremental: bool = False  # can continue another backup
    logical: bool = False  # takes databases one by one


class GuestStatus(Wire):
    """Answer to GET /v1/status, and the agent's heartbeat.

    `etag` changes when, and only when, anything else in here changes in a way that the operator
    should know; volume use counts in steps of one percent, so that an idle instance is silent.
    """

    etag: str
    agent_version: str
    boot_id: str  # of this agent process
    instance_uid: str
    pod_uid: str
    data: DataStatus
    engine: EngineStatus
    configuration: ConfigurationStatus | None = None  # None: cannot tell
    tasks: tuple[TaskStatus, ...] = ()
    databases: tuple[str, ...] | None = None  # None: cannot tell
    users: tuple[str, ...] | None = None  # `name@host`; None: cannot tell
    backup_strategies: tuple[OfferedStrategy, ...] | None = None  # by name; None: cannot tell


class DatabaseRequest(Wire):
    """Body of PUT /v1/databases/{name}: exists after it, with these properties."""

    character_set: str | None = None
    collate: str | None = None


class UserRequest(Wire):
    """Body of PUT /v1/users/{name}: exists after it, with this password and these grants."""

    host: str = "%"
    password: Annotated[str, Field(repr=False)]
    databases: tuple[str, ...] = ()


class DatabaseInfo(Wire):
    """A database that exists."""

    name: str
    character_set: str | None = None
    collate: str | None = None


class DatabaseList(Wire):
    """Answer to GET /v1/databases, by name."""

    databases: tuple[DatabaseInfo, ...]


class UserInfo(Wire):
    """A user that exists, and the databases granted to it."""

    name: str
    host: str = "%"
    databases: tuple[str, ...] = ()


class UserList(Wire):
    """Answer to GET /v1/users, by name and host."""

    users: tuple[UserInfo, ...]


class ConfigurationDefaults(Wire):
    """Answer to GET /v1/configuration/defaults: what the template gives for this flavor."""

    values: dict[str, str]


class EngineAction(StrEnum):
    """Last part of the path of POST /v1/engine/{action}."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    RESET = "reset"  # forget crashes, observe anew


class EngineRequest(Wire):
    """Body of POST /v1/engine/{action}.

    `token` makes it idempotent: the agent remembers on the volume the last token it carried out.
    """

    token: str


class ErrorAnswer(Wire):
    """Body of every answer from 400 on."""

    reason: str  # CamelCase
    message: str  # one line
    retry_after_s: float | None = None
