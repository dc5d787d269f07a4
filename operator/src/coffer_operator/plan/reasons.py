"""The reasons that conditions and Events give. They are API: people and tools match on them."""

from typing import Final

# all is well
READY: Final = "Ready"
ANSWERS: Final = "EngineAnswers"
AS_WANTED: Final = "AsWanted"

# the spec, or the catalogue behind it
INVALID: Final = "Invalid"
INVALID_NAME: Final = "InvalidName"
UNKNOWN_DATASTORE: Final = "UnknownDatastore"
UNKNOWN_VERSION: Final = "UnknownVersion"
INACTIVE_VERSION: Final = "InactiveVersion"
AMBIGUOUS_VERSION: Final = "AmbiguousVersion"
NO_DEFAULT_VERSION: Final = "NoDefaultVersion"
SECOND_DEFAULT: Final = "SecondDefaultVersion"
UNKNOWN_FLAVOR: Final = "UnknownFlavor"
FLAVOR_NOT_ALLOWED: Final = "FlavorNotAllowed"
UNKNOWN_STORAGE_CLASS: Final = "UnknownStorageClass"
STORAGE_CLASS_NOT_ALLOWED: Final = "StorageClassNotAllowed"
VOLUME_TOO_SMALL: Final = "VolumeTooSmall"
IMMUTABLE: Final = "Immutable"
NO_DATABASES: Final = "DatabasesNotSupported"
NO_USERS: Final = "UsersNotSupported"
NO_HOSTS: Final = "HostsNotSupported"
BAD_DATABASE_NAME: Final = "InvalidDatabaseName"
BAD_USER_NAME: Final = "InvalidUserName"
BAD_HOST: Final = "InvalidHost"
BAD_NODE_SELECTOR: Final = "InvalidNodeSelector"
DUPLICATE: Final = "Duplicate"
UNKNOWN_DATABASE: Final = "UnknownDatabase"
CATALOGUE: Final = "InvalidCatalogue"

# the values of parameters
APPLIED: Final = "Applied"
PENDING_RESTART: Final = "PendingRestart"
APPLYING: Final = "Applying"
WAITING_FOR_TURN: Final = "WaitingForTurn"
ROLLOUT_STOPPED: Final = "RolloutStopped"
REFUSED: Final = "Refused"
ROLLED_BACK: Final = "RolledBack"
CONFIGURATION_NOT_FOUND: Final = "ConfigurationNotFound"
CONFIGURATION_INVALID: Final = "ConfigurationInvalid"
CONFIGURATION_MISMATCH: Final = "ConfigurationMismatch"
CONFIGURATION_PENDING: Final = "ConfigurationPending"
CONFIGURATION_APPLIED: Final = "ConfigurationApplied"
CONFIGURATION_REFUSED: Final = "ConfigurationRefused"
CONFIGURATION_ROLLED_BACK: Final = "ConfigurationRolledBack"
CONFIGURATION_DRIFT: Final = "ConfigurationDrift"

# other objects in the way
NAME_TAKEN: Final = "NameTaken"
FORMER_OBJECTS: Final = "FormerObjects"

# the volume
VOLUME_IN_USE: Final = "VolumeInUse"
VOLUME_LOST: Final = "VolumeLost"
VOLUME_REPLACED: Final = "VolumeReplaced"
VOLUME_MISMATCH: Final = "VolumeMismatch"
VOLUME_DELETING: Final = "VolumeDeleting"
VOLUME_PENDING: Final = "VolumePending"
VOLUME_NEARLY_FULL: Final = "VolumeNearlyFull"
PREPARE_FAILED: Final = "PrepareFailed"

# the pod
NO_POD: Final = "NoPod"
POD_STARTING: Final = "PodStarting"
POD_STOPPING: Final = "PodStopping"
UNSCHEDULABLE: Final = "Unschedulable"
IMAGE: Final = "ImageUnavailable"
NODE_NOT_READY: Final = "NodeNotReady"
OUTDATED: Final = "TemplateChanged"

# the agent and the engine
AGENT_PENDING: Final = "AgentPending"
AGENT_UNREACHABLE: Final = "AgentUnreachable"
LAUNCHER_UNREACHABLE: Final = "LauncherUnreachable"
PREPARING: Final = "Preparing"
ENGINE_STARTING: Final = "EngineStarting"
ENGINE_STOPPED: Final = "EngineStopped"
ENGINE_CRASHED: Final = "EngineCrashed"
ENGINE_CRASH_LOOP: Final = "EngineCrashLoop"
ENGINE_UNRESPONSIVE: Final = "EngineUnresponsive"
ENGINE_RESTARTED: Final = "EngineRestarted"
ADDRESS_PENDING: Final = "AddressPending"
ACCOUNTS_PENDING: Final = "AccountsPending"

# what goes on
RESTARTING: Final = "Restarting"
DELETING: Final = "Deleting"
RECOVERED: Final = "Recovered"
INSTANCE_REPLACED: Final = "InstanceReplaced"
