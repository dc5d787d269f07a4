"""ConfigurationGroup: values for an engine's parameters, shared by the instances attached to it.

Also what other kinds say of parameters: the catalogue's overrides of the rules.
"""

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import Field
from pydantic.config import JsonDict

from coffer_common.resources.base import (
    CONDITION_LIST,
    DATE_TIME,
    Condition,
    Metadata,
    Resource,
    immutable,
)

MAX_VALUES: Final = 500
HISTORY_LENGTH: Final = 10
# a number, a boolean or a string, as people write them; the rules say which of these
_SCALAR: Final[JsonDict] = {"x-kubernetes-preserve-unknown-fields": True}

Values = Annotated[
    dict[Annotated[str, Field(max_length=128)], Annotated[Any, Field(json_schema_extra=_SCALAR)]],
    Field(max_length=MAX_VALUES),
]


class GroupDatastore(Resource):
    """The engine, and its version in the catalogue, that the values are for."""

    type: Annotated[
        str,
        Field(
            description="Datastore, such as mariadb. Cannot change.",
            min_length=1,
            max_length=63,
            json_schema_extra=immutable("spec.datastore.type"),
        ),
    ]
    version: Annotated[
        str,
        Field(
            description="Version in the catalogue, such as 10.11. Cannot change.",
            min_length=1,
            max_length=63,
            json_schema_extra=immutable("spec.datastore.version"),
        ),
    ]


class RolloutSpec(Resource):
    """How a change reaches the instances."""

    max_concurrent: Annotated[
        int, Field(description="Instances changed at the same time.", ge=1, le=1000)
    ] = 5


class ConfigurationGroupSpec(Resource):
    """Values for the parameters of one engine version."""

    datastore: Annotated[GroupDatastore, Field(description="Which engine and version.")]
    description: Annotated[
        str | None, Field(description="What the group is for.", max_length=1024)
    ] = None
    values: Annotated[
        Values,
        Field(
            description="Parameters by name. What is not named here has the value of the "
            "template, or of the DatastoreVersion's defaultValues."
        ),
    ] = Field(default_factory=dict)
    rollout: Annotated[RolloutSpec, Field(description="How a change reaches the instances.")] = (
        Field(default_factory=RolloutSpec)
    )


class AttachedState(StrEnum):
    """How far an attached instance is with the group's values."""

    APPLIED = "Applied"
    PENDING_RESTART = "PendingRestart"  # some take effect at the next restart
    APPLYING = "Applying"
    WAITING = "Waiting"  # for its turn, or for the rollout to go on
    UNREACHABLE = "Unreachable"  # cannot tell; it follows when it is back
    REFUSED = "Refused"  # the engine did not take a value; the former values run
    ROLLED_BACK = "RolledBack"  # it did not start with the values; the former ones run


class AttachedInstance(Resource):
    """One instance that names the group."""

    name: Annotated[str, Field(description="Name of the DatabaseInstance.")]
    state: Annotated[AttachedState, Field(description="How far it is with these values.")]
    pending_restart: Annotated[
        tuple[str, ...], Field(description="Parameters that take effect at the next restart.")
    ] = ()
    message: Annotated[str | None, Field(description="Why, in one line.")] = None


class Revision(Resource):
    """Values that the group had."""

    revision: Annotated[int, Field(description="Counts the changes of the values.")]
    hash: Annotated[str, Field(description="Of the values.")]
    time: Annotated[str, Field(description="Since when.", json_schema_extra=DATE_TIME)]
    values: Annotated[Values, Field(description="The values.")] = Field(default_factory=dict)


class ConfigurationGroupStatus(Resource):
    """What Coffer reports of a configuration group."""

    observed_generation: Annotated[
        int | None, Field(description="Generation of the spec that this status speaks of.")
    ] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Ready and what else is known.", json_schema_extra=CONDITION_LIST),
    ] = ()
    attached: Annotated[int, Field(description="Instances that name the group.")] = 0
    applied: Annotated[int, Field(description="Of these, those that run all of its values.")] = 0
    instances: Annotated[
        tuple[AttachedInstance, ...],
        Field(
            description="Instances that name the group.",
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    history: Annotated[
        tuple[Revision, ...],
        Field(
            description="The last ten valid values, the newest first.", max_length=HISTORY_LENGTH
        ),
    ] = ()


class ConfigurationGroup(Resource):
    """Validated values for an engine's parameters, shared by the instances attached to it."""

    metadata: Metadata
    spec: Annotated[ConfigurationGroupSpec, Field(description="The values.")]
    status: Annotated[ConfigurationGroupStatus, Field(description="What Coffer reports.")] = Field(
        default_factory=ConfigurationGroupStatus
    )


class ParameterOverride(Resource):
    """What an administrator says of one parameter: restricts a known one, or adds another.

    Only what is given here changes; a parameter that is not known yet needs a type.
    """

    name: Annotated[str, Field(description="Name of the parameter.", min_length=1, max_length=128)]
    type: Annotated[
        Literal["integer", "float", "boolean", "string", "enum", "size", "duration"] | None,
        Field(description="What a value is."),
    ] = None
    min: Annotated[float | None, Field(description="Smallest value.")] = None
    max: Annotated[float | None, Field(description="Largest value.")] = None
    allowed: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(description="The values to choose from.", max_length=128),
    ] = ()
    pattern: Annotated[
        str | None,
        Field(description="Regular expression that the whole value must match.", max_length=1024),
    ] = None
    unit: Annotated[
        Literal["us", "ms", "s"] | None,
        Field(description="Unit of a duration, and of its limits, where none is written."),
    ] = None
    restart_required: Annotated[
        bool | None, Field(description="Takes effect only when the engine is restarted.")
    ] = None
    read_only: Annotated[bool | None, Field(description="Users may not set it.")] = None
    description: Annotated[str | None, Field(description="What it is for.", max_length=1024)] = None
