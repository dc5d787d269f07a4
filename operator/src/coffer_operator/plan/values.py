"""The values of an engine's parameters: which are valid, and what an instance's agent is to get.

Pure. Webhook, group and instance judge by these functions, so that all say the same.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.resources.catalogue import DatastoreVersion
from coffer_common.resources.configuration import ConfigurationGroup
from coffer_common.rules import Rules
from coffer_common.wire import ConfigurationRequest, Value
from coffer_operator.plan import reasons
from coffer_operator.plan.wording import choice
from coffer_operator.plan.world import Catalogue, World

PORT: Final = "port"
_HASH_LENGTH: Final = 16


@dataclass(frozen=True)
class GroupVerdict:
    """What a group gives out.

    `values` are its own in their normal form or, where they are not valid (`error`), the ones
    before. None: those are not valid either (any more), so that nothing is given out, and
    instances keep what they have.
    """

    values: Mapping[str, Value] | None
    error: UserError | None = None


@dataclass(frozen=True)
class Wanted:
    """What an agent is to get; `invalid`: why these are former values of the group, if they are."""

    request: ConfigurationRequest
    invalid: str | None = None


def offered_versions(catalogue: Catalogue, datastore: str, version: str) -> list[DatastoreVersion]:
    """The entries of the catalogue for an engine version, active or not, by name.

    Raises UserError where there is none.
    """
    of_type = [v for v in catalogue.datastore_versions.values() if v.spec.datastore == datastore]
    if not of_type:
        names = {v.spec.datastore for v in catalogue.datastore_versions.values()}
        raise UserError(
            reasons.UNKNOWN_DATASTORE,
            f"spec.datastore.type: there is no datastore {datastore!r}; {choice(names)}",
        )
    found = [v for v in of_type if v.spec.version == version]
    if not found:
        raise UserError(
            reasons.UNKNOWN_VERSION,
            f"spec.datastore.version: {datastore} has no version {version!r}; "
            f"{choice({v.spec.version for v in of_type})}",
        )
    return sorted(found, key=lambda v: v.metadata.name)


def group_version(group: ConfigurationGroup, catalogue: Catalogue) -> DatastoreVersion:
    """The entry of the catalogue that a group is for. Raises UserError where there is none."""
    datastore = group.spec.datastore
    return offered_versions(catalogue, datastore.type, datastore.version)[0]


def check_values(
    values: Mapping[str, object], catalogue: Catalogue, version: str
) -> dict[str, Value]:
    """Values in their normal form, by the rules of the DatastoreVersion of that name.

    Raises UserError, one line that names all that is wrong.
    """
    rules = catalogue.rules.get(version)
    if rules is None and values:
        raise UserError(
            reasons.CATALOGUE,
            f"the rules for the parameters of {version} are not valid; tell the administrator",
        )
    return rules.check(values) if rules is not None else {}


def judge_group(group: ConfigurationGroup, catalogue: Catalogue, version: str) -> GroupVerdict:
    """What the group gives out to instances of the DatastoreVersion of that name."""
    try:
        return GroupVerdict(check_values(group.spec.values, catalogue, version))
    except UserError as error:
        return GroupVerdict(_last_valid(group, catalogue, version), error)


def _last_valid(
    group: ConfigurationGroup, catalogue: Catalogue, version: str
) -> Mapping[str, Value] | None:
    """Never an older revision than the last: no instance has that, and nobody asked for it."""
    try:
        return check_values(group.status.history[0].values, catalogue, version)
    except (IndexError, UserError):
        return None


def mismatch(group: ConfigurationGroup, version: DatastoreVersion) -> UserError | None:
    """The error of an instance of that version which names the group; None: the group is for it."""
    wanted, found = group.spec.datastore, version.spec
    if (wanted.type, wanted.version) == (found.datastore, found.version):
        return None
    return UserError(
        reasons.CONFIGURATION_MISMATCH,
        f"spec.configurationRef: the ConfigurationGroup {group.metadata.name} is for "
        f"{wanted.type} {wanted.version}, the instance is {found.datastore} {found.version}; "
        f"name a group for {found.datastore} {found.version}",
    )


def version_defaults(version: DatastoreVersion, catalogue: Catalogue) -> dict[str, Value]:
    """The values that all instances of a version get, in their normal form. Raises UserError."""
    name = version.metadata.name
    try:
        return check_values(version.spec.default_values, catalogue, name)
    except UserError as error:
        if error.reason == reasons.CATALOGUE:
            raise
        raise UserError(
            reasons.CATALOGUE,
            f"DatastoreVersion {name}: spec.defaultValues: {error.message}; tell the administrator",
        ) from error


def build_request(
    group: str | None,
    defaults: Mapping[str, Value],
    values: Mapping[str, Value],
    rules: Rules | None,
) -> ConfigurationRequest:
    """The request, with a hash that only its contents decide."""
    names = (*defaults, *values)
    content = ConfigurationRequest(
        hash="",
        group=group,
        defaults=dict(sorted(defaults.items())),
        values=dict(sorted(values.items())),
        restart_required=rules.restart_required(names) if rules is not None else (),
    )
    text = json.dumps(content.model_dump(mode="json", exclude={"hash"}), sort_keys=True)
    return content.model_copy(update={"hash": naming.short_hash(text, _HASH_LENGTH)})


def is_bare(request: ConfigurationRequest) -> bool:
    """Whether it says no more than no request at all: the template alone counts."""
    return request.group is None and not request.defaults and not request.values


def wanted_request(
    group: ConfigurationGroup | None, version: DatastoreVersion, catalogue: Catalogue
) -> Wanted:
    """What an instance of that version gets, with or without a group.

    Raises UserError where that cannot be told: what the agent has then stays.
    """
    name = version.metadata.name
    rules = catalogue.rules.get(name)
    defaults = version_defaults(version, catalogue)
    if group is None:
        return Wanted(build_request(None, defaults, {}, rules))
    unfit = mismatch(group, version)
    if unfit is not None:
        raise unfit
    verdict = judge_group(group, catalogue, name)
    line = f"ConfigurationGroup {group.metadata.name}: "
    line += verdict.error.message if verdict.error is not None else ""
    if verdict.values is None:
        raise UserError(reasons.CONFIGURATION_INVALID, line)
    request = build_request(group.metadata.name, defaults, verdict.values, rules)
    return Wanted(request, line if verdict.error is not None else None)


def wanted_of(world: World, version: DatastoreVersion) -> Wanted:
    """What the World's instance gets. Raises UserError as above, and for a missing group."""
    reference = world.instance.spec.configuration_ref
    if reference is None:
        return wanted_request(None, version, world.catalogue)
    if world.configuration_group is None:
        raise UserError(
            reasons.CONFIGURATION_NOT_FOUND,
            f"spec.configurationRef: there is no ConfigurationGroup {reference.name} in this "
            "namespace; create it, or name another one",
        )
    return wanted_request(world.configuration_group, version, world.catalogue)


def wanted_port(request: ConfigurationRequest | None, version: DatastoreVersion) -> int:
    """The port that the engine has once it was started with the request."""
    for values in (request.values, request.defaults) if request is not None else ():
        port = values.get(PORT)
        if isinstance(port, int) and not isinstance(port, bool):
            return port
    return version.spec.port
