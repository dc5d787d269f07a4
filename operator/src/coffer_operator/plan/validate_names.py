"""Names of databases, users and hosts, by the rules of the instance's DatastoreVersion. Pure."""

import re
from collections import Counter
from collections.abc import Iterator

from coffer_common.errors import UserError
from coffer_common.resources.catalogue import DatastoreVersionSpec, NameRules
from coffer_common.resources.instance import InstanceSpec
from coffer_operator.plan import reasons

ANY_HOST = "%"


def check_names(spec: InstanceSpec, version: DatastoreVersionSpec) -> Iterator[UserError]:
    """The errors in spec.databases and spec.users."""
    yield from _databases(spec, version)
    yield from _users(spec, version)


def _databases(spec: InstanceSpec, version: DatastoreVersionSpec) -> Iterator[UserError]:
    rules = version.database_names
    if not spec.databases:
        return
    if rules is None:
        yield UserError(
            reasons.NO_DATABASES,
            f"spec.databases: {version.datastore} has no databases; leave the list out",
        )
        return
    for entry in spec.databases:
        yield from _name(
            "spec.databases[].name", "database", entry.name, rules, reasons.BAD_DATABASE_NAME
        )
    for name, count in Counter(entry.name for entry in spec.databases).items():
        if count > 1:
            yield UserError(
                reasons.DUPLICATE,
                f"spec.databases: {name!r} is there {count} times; name each database once",
            )


def _users(spec: InstanceSpec, version: DatastoreVersionSpec) -> Iterator[UserError]:
    rules = version.user_names
    if not spec.users:
        return
    if rules is None:
        yield UserError(
            reasons.NO_USERS, f"spec.users: {version.datastore} has no users; leave the list out"
        )
        return
    databases = {entry.name for entry in spec.databases}
    for user in spec.users:
        yield from _name("spec.users[].name", "user", user.name, rules, reasons.BAD_USER_NAME)
        if user.host is not None:
            yield from _host(user.host, version)
        for name in user.databases:
            if name not in databases:
                yield UserError(
                    reasons.UNKNOWN_DATABASE,
                    f"spec.users[].databases: user {user.name!r} is to use the database {name!r}, "
                    "which is not in spec.databases; add it there or take it out here",
                )
    for (name, host), count in Counter(
        (user.name, user.host or ANY_HOST) for user in spec.users
    ).items():
        if count > 1:
            yield UserError(
                reasons.DUPLICATE,
                f"spec.users: {name!r} from host {host!r} is there {count} times; name each user "
                "once per host",
            )


def _host(host: str, version: DatastoreVersionSpec) -> Iterator[UserError]:
    if version.user_hosts is not None:
        yield from _name("spec.users[].host", "host", host, version.user_hosts, reasons.BAD_HOST)
    elif host != ANY_HOST:
        yield UserError(
            reasons.NO_HOSTS,
            f"spec.users[].host: {version.datastore} does not tell users apart by host; "
            "leave the field out",
        )


def _name(field: str, what: str, name: str, rules: NameRules, reason: str) -> Iterator[UserError]:
    if name.casefold() in {reserved.casefold() for reserved in rules.reserved}:
        yield UserError(
            reason, f"{field}: the {what} {name!r} belongs to the engine; choose another name"
        )
        return
    try:
        fits = re.fullmatch(rules.pattern, name) is not None
    except re.error:
        yield UserError(
            reasons.CATALOGUE,
            f"the catalogue's rule for the name of a {what} is no regular expression; "
            "tell the administrator",
        )
        return
    if not fits or len(name) > rules.max_length:
        yield UserError(
            reason,
            f"{field}: {name!r} is no {what} name: at most {rules.max_length} characters, "
            f"{rules.allowed}; choose another name",
        )
