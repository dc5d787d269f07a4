"""What a DatabaseInstance or DatastoreVersion may say, beyond what its schema can tell.

Pure. The webhook and the plan ask the same functions, so that the text is the same with and
without the webhook. Every error is one line: what is wrong, what is allowed, what to do.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.quantity import parse_bytes, parse_cores
from coffer_common.resources.catalogue import DatastoreVersion, Flavor
from coffer_common.resources.configuration import ConfigurationGroup
from coffer_common.resources.instance import DatabaseInstance, InstanceSpec
from coffer_common.rules import Rules
from coffer_operator.plan import reasons
from coffer_operator.plan.maintenance import check_window
from coffer_operator.plan.validate_names import check_names
from coffer_operator.plan.validate_placement import check_scheduling
from coffer_operator.plan.values import mismatch
from coffer_operator.plan.wording import choice, malformed
from coffer_operator.plan.world import Catalogue


@dataclass(frozen=True)
class Prior:
    """What is known of an instance from before: it may go on as it is whatever the catalogue says.

    `version_name` is the DatastoreVersion that it runs; `flavor` the one it runs with; `spec` the
    one that is to be replaced; `has_volume`: its volume exists, so class and size are settled.
    """

    version_name: str | None = None
    flavor: str | None = None
    spec: InstanceSpec | None = None
    has_volume: bool = False


def validate_instance(
    obj: Mapping[str, Any],
    catalogue: Catalogue,
    old: Mapping[str, Any] | None,
    group: ConfigurationGroup | None = None,
) -> list[UserError]:
    """The errors of an instance as the API has it; `old` is what it replaces, None on creation.

    `group` is the ConfigurationGroup that it names, None where there is none: that is no error
    here, for the two may be applied in any order.
    """
    try:
        instance = DatabaseInstance.model_validate(obj)
    except ValidationError as error:
        return [malformed(error)]
    prior = Prior()
    if old is not None:
        try:
            before = DatabaseInstance.model_validate(old)
        except ValidationError:
            before = None
        if before is not None:
            if before.spec == instance.spec:
                return []  # labels, finalizers and the like are never held back
            resolved = before.status.datastore
            prior = Prior(
                version_name=resolved.name if resolved else None,
                flavor=before.spec.flavor,
                spec=before.spec,
                has_volume=before.status.data_id is not None,
            )
    return [*check_instance(instance, catalogue, prior), *_group(instance, catalogue, prior, group)]


def check_instance(
    instance: DatabaseInstance, catalogue: Catalogue, prior: Prior
) -> list[UserError]:
    """The errors of an instance, the gravest first."""
    spec = instance.spec
    errors = list(_name(instance.metadata.name))
    if prior.spec is not None:
        errors += _immutable(spec, prior.spec)
    version: DatastoreVersion | None = None
    try:
        version = find_version(spec, catalogue, prior.version_name)
    except UserError as error:
        errors.append(error)
    errors += _flavor(spec, version, catalogue, prior)
    errors += _volume(spec, version, catalogue, prior)
    if version is not None:
        errors += check_names(spec, version.spec)
    errors += check_scheduling(spec.scheduling)
    if spec.maintenance is not None and (bad := check_window(spec.maintenance.window)):
        errors.append(bad)
    return errors


def find_version(
    spec: InstanceSpec, catalogue: Catalogue, known_name: str | None
) -> DatastoreVersion:
    """The DatastoreVersion of an instance: the one it has, else the one it names, else the default.

    Raises UserError where there is none that it may use.
    """
    datastore, wanted = spec.datastore.type, spec.datastore.version
    if known_name is not None:
        return _known_version(spec, catalogue, known_name)
    offered = [v for v in catalogue.datastore_versions.values() if v.spec.datastore == datastore]
    active = [v for v in offered if v.spec.active]
    if not offered:
        names = {v.spec.datastore for v in catalogue.datastore_versions.values() if v.spec.active}
        raise UserError(
            reasons.UNKNOWN_DATASTORE,
            f"spec.datastore.type: there is no datastore {datastore!r}; {choice(names)}",
        )
    options = choice({v.spec.version for v in active})
    if wanted is None:
        defaults = [v for v in active if v.spec.default]
        if not defaults:
            raise UserError(
                reasons.NO_DEFAULT_VERSION,
                f"spec.datastore.version: {datastore} has no default version; {options}",
            )
        return _only(defaults, f"{datastore} has several default versions", options)
    matching = [v for v in offered if v.spec.version == wanted]
    if not matching:
        raise UserError(
            reasons.UNKNOWN_VERSION,
            f"spec.datastore.version: {datastore} has no version {wanted!r}; {options}",
        )
    if not any(v.spec.active for v in matching):
        raise UserError(
            reasons.INACTIVE_VERSION,
            f"spec.datastore.version: {datastore} {wanted} is not active, so there are no new "
            f"instances of it; {options}",
        )
    return _only(
        [v for v in matching if v.spec.active], f"{datastore} {wanted} is there twice", options
    )


def validate_datastore_version(
    obj: Mapping[str, Any],
    catalogue: Catalogue,
    old: Mapping[str, Any] | None = None,
    shipped: Rules | None = None,
) -> list[UserError]:
    """The errors of a DatastoreVersion: there is one default and one entry per version.

    `shipped` are the rules of its parameters without its own words on them, those of no parameter
    for an engine without any; None: cannot tell, and what it says of parameters is not judged.
    """
    try:
        entry = DatastoreVersion.model_validate(obj)
        before = DatastoreVersion.model_validate(old) if old is not None else None
    except ValidationError as error:
        return [malformed(error)]
    others = [
        other
        for name, other in sorted(catalogue.datastore_versions.items())
        if name != entry.metadata.name and other.spec.datastore == entry.spec.datastore
    ]
    errors = []
    became_default = entry.spec.default and not (before is not None and before.spec.default)
    if became_default and (rival := next((o for o in others if o.spec.default), None)):
        errors.append(
            UserError(
                reasons.SECOND_DEFAULT,
                f"spec.default: {rival.metadata.name} is the default of {entry.spec.datastore} "
                f"already; set its spec.default to false first",
            )
        )
    if twin := next((o for o in others if o.spec.version == entry.spec.version), None):
        errors.append(
            UserError(
                reasons.AMBIGUOUS_VERSION,
                f"spec.version: {twin.metadata.name} is {entry.spec.datastore} "
                f"{entry.spec.version} already; change that entry instead",
            )
        )
    unchanged = before is not None and _of_parameters(before) == _of_parameters(entry)
    if shipped is not None and not unchanged:
        errors += _parameters(entry, shipped)
    return errors


def _of_parameters(entry: DatastoreVersion) -> str:
    """As text: 1 and true are equal to Python, but not one value."""
    return entry.spec.model_dump_json(include={"default_values", "parameters"})


def _parameters(entry: DatastoreVersion, shipped: Rules) -> Iterator[UserError]:
    field = "spec.parameters"
    try:
        rules = shipped.overridden(entry.spec.parameters)
        field = "spec.defaultValues"
        rules.check(entry.spec.default_values)
    except UserError as error:
        yield UserError(error.reason, f"{field}: {error.message}")


def flavor_size(flavor: Flavor) -> tuple[int, int, int]:
    """(ram in bytes, cpu limit, cpu request in millicores). Raises UserError for no quantity."""
    try:
        ram_bytes = parse_bytes(flavor.spec.ram)
        limit = int(parse_cores(flavor.spec.vcpus) * 1000)
    except ValueError as error:
        raise UserError(
            reasons.CATALOGUE, f"flavor {flavor.metadata.name}: {error}; tell the administrator"
        ) from error
    request = -(-limit * flavor.spec.cpu_request_percent // 100)
    return ram_bytes, max(limit, 1), max(request, 1)


def _group(
    instance: DatabaseInstance,
    catalogue: Catalogue,
    prior: Prior,
    group: ConfigurationGroup | None,
) -> Iterator[UserError]:
    """The error of an instance whose group is for something else."""
    reference = instance.spec.configuration_ref
    if reference is None or group is None or group.metadata.name != reference.name:
        return
    with suppress(UserError):  # that there is no version is said elsewhere
        version = find_version(instance.spec, catalogue, prior.version_name)
        if (unfit := mismatch(group, version)) is not None:
            yield unfit


def _name(name: str) -> Iterator[UserError]:
    if not naming.is_instance_name(name):
        yield UserError(
            reasons.INVALID_NAME,
            f"metadata.name: {name!r} must be a DNS label of at most {naming.MAX_INSTANCE_NAME} "
            "characters that starts with a letter and does not end in -rw or -ro; "
            "choose another name",
        )


def _immutable(spec: InstanceSpec, old: InstanceSpec) -> Iterator[UserError]:
    settled = (
        ("spec.datastore.type", old.datastore.type, spec.datastore.type),
        ("spec.datastore.version", old.datastore.version, spec.datastore.version),
        ("spec.volume.size", _bytes(old.volume.size), _bytes(spec.volume.size)),
        (
            "spec.volume.storageClassName",
            old.volume.storage_class_name,
            spec.volume.storage_class_name,
        ),
    )
    for field, before, now in settled:
        may_be_given_late = field == "spec.datastore.version" and before is None
        if before != now and not may_be_given_late:
            yield UserError(
                reasons.IMMUTABLE,
                f"{field} cannot change; put the former value back, or make another instance",
            )


def _known_version(spec: InstanceSpec, catalogue: Catalogue, known_name: str) -> DatastoreVersion:
    known = catalogue.datastore_versions.get(known_name)
    if known is None:
        raise UserError(
            reasons.UNKNOWN_VERSION,
            f"the DatastoreVersion {known_name}, which the instance uses, is gone from the "
            "catalogue; ask the administrator to put it back",
        )
    if known.spec.datastore != spec.datastore.type:
        raise UserError(
            reasons.IMMUTABLE,
            f"spec.datastore.type: the instance holds data of {known.spec.datastore}, not of "
            f"{spec.datastore.type}; put the former value back, or make another instance",
        )
    if spec.datastore.version not in (None, known.spec.version):
        raise UserError(
            reasons.IMMUTABLE,
            f"spec.datastore.version: the instance holds data of {known.spec.datastore} "
            f"{known.spec.version}; put that version back, or make another instance",
        )
    return known


def _flavor(
    spec: InstanceSpec, version: DatastoreVersion | None, catalogue: Catalogue, prior: Prior
) -> Iterator[UserError]:
    allowed = set(version.spec.flavors) if version is not None else set()
    existing = set(catalogue.flavors)
    flavor = catalogue.flavors.get(spec.flavor)
    if flavor is None:
        options = choice(existing & allowed if allowed else existing)
        yield UserError(
            reasons.UNKNOWN_FLAVOR, f"spec.flavor: there is no flavor {spec.flavor!r}; {options}"
        )
        return
    if allowed and version is not None and spec.flavor not in allowed | {prior.flavor}:
        yield UserError(
            reasons.FLAVOR_NOT_ALLOWED,
            f"spec.flavor: {version.metadata.name} does not allow the flavor {spec.flavor}; "
            f"{choice(existing & allowed)}",
        )
    try:
        flavor_size(flavor)
    except UserError as error:
        yield error


def _volume(
    spec: InstanceSpec, version: DatastoreVersion | None, catalogue: Catalogue, prior: Prior
) -> Iterator[UserError]:
    size = _bytes(spec.volume.size)
    if size is None or size <= 0:
        yield UserError(
            reasons.INVALID,
            f"spec.volume.size: {spec.volume.size!r} is not a size; write one such as 10Gi",
        )
    if prior.has_volume:
        return
    yield from _storage_class(spec.volume.storage_class_name, version, catalogue)
    least = _bytes(version.spec.min_volume_size) if version is not None else None
    if version is not None and least is not None and size is not None and 0 < size < least:
        yield UserError(
            reasons.VOLUME_TOO_SMALL,
            f"spec.volume.size: {spec.volume.size} is too small for {version.metadata.name}; "
            f"ask for at least {version.spec.min_volume_size}",
        )


def _storage_class(
    name: str | None, version: DatastoreVersion | None, catalogue: Catalogue
) -> Iterator[UserError]:
    classes = catalogue.storage_classes
    allowed = set(version.spec.storage_classes) if version is not None else set()
    field = "spec.volume.storageClassName"
    if classes is not None and name is not None and name not in classes:
        options = choice(set(classes) & allowed if allowed else set(classes))
        yield UserError(
            reasons.UNKNOWN_STORAGE_CLASS, f"{field}: there is no StorageClass {name!r}; {options}"
        )
        return
    if classes is not None and name is None and not any(c.default for c in classes.values()):
        yield UserError(
            reasons.UNKNOWN_STORAGE_CLASS,
            f"{field}: the cluster has no default StorageClass; "
            f"{choice(set(classes) & allowed if allowed else set(classes))}",
        )
        return
    used = name
    if used is None and classes is not None:
        used = next((c.name for c in classes.values() if c.default), None)
    if allowed and version is not None and used is not None and used not in allowed:
        yield UserError(
            reasons.STORAGE_CLASS_NOT_ALLOWED,
            f"{field}: {version.metadata.name} does not allow the StorageClass {used}; "
            f"{choice(allowed)}",
        )


def _only(found: list[DatastoreVersion], problem: str, options: str) -> DatastoreVersion:
    if len(found) > 1:
        names = ", ".join(sorted(v.metadata.name for v in found))
        raise UserError(
            reasons.AMBIGUOUS_VERSION,
            f"spec.datastore.version: {problem} ({names}); {options}, or ask the administrator to "
            "leave one",
        )
    return found[0]


def _bytes(text: str) -> int | None:
    try:
        return parse_bytes(text)
    except ValueError:
        return None
