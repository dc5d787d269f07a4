"""DatastoreVersion and Flavor: the administrator's catalogue."""

from typing import Annotated

from pydantic import Field

from coffer_common.resources.base import Metadata, Resource

QUANTITY = r"^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?$"


class DatastoreVersionSpec(Resource):
    """One engine in one version, and how it is run."""

    datastore: Annotated[
        str, Field(description="Datastore, such as mariadb. Cannot change.", min_length=1)
    ]
    version: Annotated[
        str, Field(description="Version, such as 10.11. Cannot change.", min_length=1)
    ]
    manager: Annotated[
        str, Field(description="Engine plugin of the guest agent. Cannot change.", min_length=1)
    ]
    image: Annotated[str, Field(description="Guest image: engine and agent.", min_length=1)]
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
        Field(description="Smallest data volume that the engine can live in.", pattern=QUANTITY),
    ]
    flavors: Annotated[tuple[str, ...], Field(description="Flavors allowed; empty: all.")] = ()
    storage_classes: Annotated[
        tuple[str, ...], Field(description="StorageClasses allowed; empty: all.")
    ] = ()


class DatastoreVersion(Resource):
    """An entry of the catalogue of engines."""

    metadata: Metadata
    spec: DatastoreVersionSpec


class FlavorSpec(Resource):
    """A size of instance."""

    vcpus: Annotated[
        str,
        Field(
            description="CPU limit of the database, in cores, such as 0.25 or 2.",
            pattern=r"^[0-9]+(\.[0-9]{1,3})?$",
        ),
    ]
    ram: Annotated[
        str,
        Field(
            description="Memory of the database, request and limit, such as 4Gi.",
            pattern=QUANTITY,
        ),
    ]
    cpu_request_percent: Annotated[
        int, Field(description="Share of vcpus that is requested, in percent.", ge=1, le=100)
    ] = 10


class Flavor(Resource):
    """A size of instance."""

    metadata: Metadata
    spec: FlavorSpec
