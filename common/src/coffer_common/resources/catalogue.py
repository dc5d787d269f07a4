"""DatastoreVersion and Flavor: the administrator's catalogue."""

from typing import Annotated

from pydantic import Field

from coffer_common.resources.base import (
    MAX_OBJECT_NAME,
    QUANTITY,
    Metadata,
    Resource,
    cel,
    immutable,
)
from coffer_common.resources.configuration import ParameterOverride, Values


class NameRules(Resource):
    """How the engine lets something be named."""

    pattern: Annotated[
        str,
        Field(
            description="Regular expression (RE2) that the whole name must match.",
            min_length=1,
            max_length=1024,
        ),
    ]
    allowed: Annotated[
        str,
        Field(
            description="What the pattern says, in words: a refusal quotes it.",
            min_length=1,
            max_length=256,
        ),
    ]
    max_length: Annotated[int, Field(description="Most characters.", ge=1, le=255)]
    reserved: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(
            description="Names that belong to the engine or to Coffer; upper and lower case count "
            "as the same.",
            max_length=64,
        ),
    ] = ()


class BackupStrategies(Resource):
    """Names of strategies of the guest agent."""

    full: Annotated[
        str | None,
        Field(description="For full backups; absent: there are none.", min_length=1, max_length=63),
    ] = None
    incremental: Annotated[
        str | None,
        Field(description="For increments; absent: there are none.", min_length=1, max_length=63),
    ] = None


class DatastoreVersionSpec(Resource):
    """One engine in one version, and how it is run."""

    datastore: Annotated[
        str,
        Field(
            description="Datastore, such as mariadb. Cannot change.",
            min_length=1,
            max_length=63,
            pattern=r"^[a-z]([a-z0-9-]*[a-z0-9])?$",
            json_schema_extra=immutable("spec.datastore"),
        ),
    ]
    version: Annotated[
        str,
        Field(
            description="Version, such as 10.11. Cannot change.",
            min_length=1,
            max_length=63,
            pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$",
            json_schema_extra=immutable("spec.version"),
        ),
    ]
    manager: Annotated[
        str,
        Field(
            description="Engine plugin of the guest agent. Cannot change.",
            min_length=1,
            max_length=63,
            json_schema_extra=immutable("spec.manager"),
        ),
    ]
    image: Annotated[
        str, Field(description="Guest image: engine and agent.", min_length=1, max_length=1024)
    ]
    port: Annotated[int, Field(description="Port that the engine listens on.", ge=1, le=65535)]
    active: Annotated[
        bool, Field(description="Whether new instances may use it; running ones always may.")
    ] = True
    default: Annotated[
        bool,
        Field(description="Used where an instance names no version; one per datastore."),
    ] = False
    min_volume_size: Annotated[
        str,
        Field(
            description="Smallest data volume that the engine can live in.",
            pattern=QUANTITY,
            max_length=32,
        ),
    ]
    flavors: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_OBJECT_NAME)], ...],
        Field(description="Flavors allowed; empty: all.", max_length=64),
    ] = ()
    storage_classes: Annotated[
        tuple[Annotated[str, Field(max_length=MAX_OBJECT_NAME)], ...],
        Field(description="StorageClasses allowed; empty: all.", max_length=64),
    ] = ()
    default_values: Annotated[
        Values,
        Field(
            description="Values of the engine's parameters for all instances of this version; a "
            "ConfigurationGroup's come above them."
        ),
    ] = Field(default_factory=dict)
    parameters: Annotated[
        tuple[ParameterOverride, ...],
        Field(
            description="Restricts parameters that users may set, or adds others.",
            max_length=256,
            json_schema_extra={
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"],
            },
        ),
    ] = ()
    database_names: Annotated[
        NameRules | None,
        Field(description="Rules for names of databases; absent: the engine has no databases."),
    ] = None
    user_names: Annotated[
        NameRules | None,
        Field(description="Rules for names of users; absent: the engine has no users."),
    ] = None
    user_hosts: Annotated[
        NameRules | None,
        Field(
            description="Rules for the hosts of users; absent: the engine does not tell users "
            "apart by the host they come from."
        ),
    ] = None
    backup_strategies: Annotated[
        BackupStrategies,
        Field(description="How backups are taken where a Backup names no strategy."),
    ] = Field(default_factory=BackupStrategies)


class DatastoreVersion(Resource):
    """An entry of the catalogue of engines: one engine in one version, and how it is run."""

    metadata: Metadata
    spec: Annotated[DatastoreVersionSpec, Field(description="The engine and how it is run.")]


class FlavorSpec(Resource):
    """A size of instance."""

    vcpus: Annotated[
        str,
        Field(
            description="CPU limit of the database, in cores, such as 0.25 or 2.",
            pattern=r"^([1-9][0-9]*(\.[0-9]{1,3})?|0\.([0-9]{0,2}[1-9]|[0-9]?[1-9]0|[1-9]00))$",
            max_length=16,
        ),
    ]
    ram: Annotated[
        str,
        Field(
            description="Memory of the database, request and limit, such as 4Gi; at least 128Mi.",
            pattern=QUANTITY,
            max_length=32,
            json_schema_extra=cel(
                (
                    "!isQuantity(self) || quantity(self).compareTo(quantity('128Mi')) >= 0",
                    "spec.ram must be at least 128Mi",
                )
            ),
        ),
    ]
    cpu_request_percent: Annotated[
        int, Field(description="Share of vcpus that is requested, in percent.", ge=1, le=100)
    ] = 10


class Flavor(Resource):
    """A size of instance: what its database gets of processor and memory."""

    metadata: Metadata
    spec: Annotated[FlavorSpec, Field(description="The size.")]
