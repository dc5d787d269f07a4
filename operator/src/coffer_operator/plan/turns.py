"""Whose turn it is among the instances of a DatastoreVersion that name no ConfigurationGroup.

Pure. What a group's own plan says of its members, for those that have no group to say it.
"""

from collections.abc import Iterable

from coffer_common.errors import UserError
from coffer_operator.plan.rollout import DEFAULT_MAX_CONCURRENT, Name, roll_out
from coffer_operator.plan.values import wanted_request
from coffer_operator.plan.world import Catalogue, Member


def plan_turns(
    version_name: str, catalogue: Catalogue, members: Iterable[Member]
) -> tuple[Name, ...]:
    """The members whose own plans are to look again, by namespace and name.

    Those that may get the version's values now, and those that wait for others that failed: who
    these are may have changed.
    """
    version = catalogue.datastore_versions.get(version_name)
    if version is None:
        return ()
    try:
        request = wanted_request(None, version, catalogue).request
    except UserError:
        return ()  # each of them says so itself
    rollout = roll_out(members, request, DEFAULT_MAX_CONCURRENT)
    return tuple(sorted(rollout.turn | rollout.held_back))
