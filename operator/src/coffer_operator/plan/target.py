"""From a valid spec to the blueprint of its objects; from an invalid one to the errors.

Pure. Owns which version, group and role an instance has; never changes what is settled.
"""

from contextlib import suppress
from dataclasses import dataclass, replace

from coffer_common.errors import UserError
from coffer_common.quantity import parse_bytes
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.resources.instance import DeletionPolicy
from coffer_common.wire import ConfigurationRequest, FlavorSize
from coffer_operator.build.identity import Blueprint, identify
from coffer_operator.plan import reasons
from coffer_operator.plan.known import Known
from coffer_operator.plan.validate import Prior, check_instance, find_version, flavor_size
from coffer_operator.plan.world import World


@dataclass(frozen=True)
class Target:
    """What is wanted: a blueprint, or the errors that stand in its way.

    `version` is there as soon as it is clear, errors or not.
    """

    version: DatastoreVersion | None
    blueprint: Blueprint | None
    errors: tuple[UserError, ...]

    def restored_from(self, path: str | None) -> "Target":
        """The same with the backup that the data are to come from."""
        if self.blueprint is None or path is None:
            return self
        return replace(self, blueprint=replace(self.blueprint, restore=path))

    def configured(self, port: int | None, request: ConfigurationRequest | None) -> "Target":
        """The same with the port of the running engine and what a new one starts with."""
        if self.blueprint is None or port is None:
            return self
        blueprint = replace(self.blueprint, service_port=port, configuration=request)
        return replace(self, blueprint=blueprint)


def aim(world: World, known: Known, data_id: str | None) -> Target:
    """The target of an instance."""
    instance = world.instance
    conflict = _volume_conflict(world)
    errors = [conflict] if conflict is not None else []
    prior = Prior(
        version_name=known.version_name,
        flavor=known.flavor,
        has_volume=world.volume is not None or known.data_id is not None,
    )
    if conflict is None:
        errors += check_instance(instance, world.catalogue, prior)
    version: DatastoreVersion | None = None
    with suppress(UserError):  # one of `errors` says so
        version = find_version(instance.spec, world.catalogue, known.version_name)
    if version is None or errors:
        return Target(version, None, tuple(errors))
    return Target(version, _blueprint(world, known, version, data_id), ())


def _volume_conflict(world: World) -> UserError | None:
    """A volume that a new instance finds and whose annotation names another datastore version."""
    volume, spec = world.volume, world.instance.spec
    if volume is None or volume.datastore_version is None or world.instance.status.datastore:
        return None
    held = world.catalogue.datastore_versions.get(volume.datastore_version)
    if held is None:
        return None
    fits = held.spec.datastore == spec.datastore.type and spec.datastore.version in (
        None,
        held.spec.version,
    )
    if fits:
        return None
    return UserError(
        reasons.VOLUME_IN_USE,
        f"{volume.name} holds data of {held.metadata.name}; to keep them, delete this instance and "
        f"create it with datastore {held.spec.datastore} {held.spec.version}, or under another "
        "name; to do without them, delete the claim and create the instance again",
    )


def _blueprint(
    world: World, known: Known, version: DatastoreVersion, data_id: str | None
) -> Blueprint:
    instance = world.instance
    spec = instance.spec
    ram_bytes, cpu_millis, cpu_request_millis = flavor_size(world.catalogue.flavors[spec.flavor])
    return Blueprint(
        identity=identify(instance.metadata, group=known.group, datastore=version.spec.datastore),
        version=version.spec.version,
        version_name=version.metadata.name,
        manager=version.spec.manager,
        image=version.spec.image,
        port=version.spec.port,
        service_port=version.spec.port,
        role=known.role,
        flavor_name=spec.flavor,
        flavor=FlavorSize(ram_bytes=ram_bytes, vcpus=cpu_millis / 1000),
        cpu_millis=cpu_millis,
        cpu_request_millis=cpu_request_millis,
        volume_bytes=parse_bytes(spec.volume.size),
        storage_class=spec.volume.storage_class_name,
        node_selector=dict(spec.scheduling.node_selector),
        tolerations=tuple(
            toleration.model_dump(by_alias=True, exclude_none=True)
            for toleration in spec.scheduling.tolerations
        ),
        delete_volume=spec.deletion_policy is DeletionPolicy.DELETE,
        data_id=data_id,
        operator_namespace=world.operator_namespace,
        pull_secrets=world.pull_secrets,
    )
