"""Redis's users as ACL rules, and the rules for their names. Pure.

Passwords appear as the SHA-256 that Redis keeps of them; neither a command nor a file of ours
holds one in clear.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from coffer_common.errors import UserError

ADMINISTRATOR: Final = "coffer-agent"
SYSTEM_USERS: Final = frozenset({"default", ADMINISTRATOR})
DEFAULT_OFF: Final = "user default off resetpass resetkeys resetchannels -@all"

#: All keys and channels, all commands but those that configure or could stop the server.
GRANTS: Final = ("~*", "&*", "+@all", "-@admin", "-@dangerous")

#: The same as ACL LIST shows it: Redis drops -@admin, since all of @admin is in @dangerous.
_SHOWN_GRANTS: Final = frozenset({"~*", "&*", "+@all", "-@dangerous"})

_NAME: Final = re.compile(r"[^\s\x00-\x1f\x7f]{1,128}")


@dataclass(frozen=True)
class AclUser:
    """A line of ACL LIST."""

    name: str
    rules: tuple[str, ...]


def check_user(name: str, host: str, databases: Sequence[str]) -> None:
    """Raises UserError where the user cannot be as asked."""
    if name in SYSTEM_USERS:
        raise UserError("InvalidUser", f"user {name!r} belongs to the server")
    if _NAME.fullmatch(name) is None:
        raise UserError(
            "InvalidUser", f"user {name!r}: a name has 1 to 128 characters and no white space"
        )
    if host not in ("%", ""):
        raise UserError("InvalidUser", f"user {name!r}: Redis users have no host; leave it out")
    if databases:
        raise UserError(
            "InvalidUser", f"user {name!r}: Redis has no databases to grant; leave them out"
        )


def password_hash(password: str) -> str:
    """#<hex SHA-256>, as a rule of ACL SETUSER."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def user_rules(password: str) -> tuple[str, ...]:
    """What ACL SETUSER is given for a user of the instance."""
    return ("reset", "on", password_hash(password), *GRANTS)


def parse_list(lines: Iterable[str]) -> list[AclUser]:
    """ACL LIST, or the lines of an ACL file."""
    found = []
    for line in lines:
        words = line.split()
        if len(words) >= 2 and words[0] == "user":
            found.append(AclUser(words[1], tuple(words[2:])))
    return found


def has_user(users: Iterable[AclUser], name: str, password: str) -> bool:
    """Whether the user is among `users`, and set (see is_set)."""
    return any(user.name == name and is_set(user, password) for user in users)


def is_set(user: AclUser, password: str) -> bool:
    """Whether the user is enabled with exactly this password and our grants."""
    hashes = [rule for rule in user.rules if rule.startswith("#")]
    return (
        "on" in user.rules
        and hashes == [password_hash(password)]
        and set(user.rules) >= _SHOWN_GRANTS
        and "nopass" not in user.rules
    )


def file_text(former: str, administrator_password: str) -> str:
    """The ACL file for a start: users as they were, `default` off, the administrator's password."""
    kept = [
        line
        for line in former.splitlines()
        if (users := parse_list([line])) and users[0].name not in SYSTEM_USERS
    ]
    secret = password_hash(administrator_password)
    administrator = f"user {ADMINISTRATOR} on {secret} ~* &* +@all"
    return "\n".join((DEFAULT_OFF, administrator, *kept)) + "\n"
