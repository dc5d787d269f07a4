"""What users type for datastores, users and databases, and the manifest that follows from it.

Pure. The manifest is checked with the models that the CRD is made from, so that a mistake costs no
round trip; what only the cluster knows (catalogue, engine's rules) is left to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from coffer_cli.errors import CliError, Exit
from coffer_common.naming import API_VERSION, is_instance_name
from coffer_common.resources.instance import NAME_RULE, InstanceSpec
from coffer_common.resources.operation import OperationSpec, OperationType


@dataclass(frozen=True)
class UserArgument:
    """`name[@host][=db1,db2]`; `databases` None: nothing was said of them."""

    name: str
    host: str | None
    databases: tuple[str, ...] | None


@dataclass(frozen=True)
class Wish:
    """What the options of `create` say."""

    name: str
    namespace: str
    datastore: str
    flavor: str
    volume: str
    storage_class: str | None = None
    databases: Sequence[str] = ()
    users: Sequence[str] = ()
    configuration: str | None = None
    deletion_policy: str | None = None
    deletion_protection: bool = False


def parse_datastore(text: str) -> dict[str, str]:
    """`mariadb` or `mariadb:10.11` as spec.datastore."""
    datastore, colon, version = text.partition(":")
    if not datastore or (colon and not version):
        raise CliError(f"--datastore {text}: write NAME or NAME:VERSION", Exit.USAGE)
    return {"type": datastore, **({"version": version} if version else {})}


def parse_user(text: str) -> UserArgument:
    """`app`, `app@10.0.%`, `app=shop,blog`, `app@%=shop`, `app=` (no database).

    The host begins at the last @, so that a name may hold one if a host is given.
    """
    account, equals, listed = text.partition("=")
    name, at, host = account.rpartition("@")
    if not at:
        name, host = account, ""
    if not name or (at and not host):
        raise CliError(f"--user {text}: write NAME[@HOST][=DATABASE,…]", Exit.USAGE)
    databases = tuple(part for part in listed.split(",") if part)
    return UserArgument(name, host or None, databases if equals else None)


def instance_manifest(wish: Wish) -> dict[str, Any]:
    """The DatabaseInstance that the user could have applied. Raises CliError.

    A user for whom no databases are named may use all that are created with the instance.
    """
    users = []
    for user in map(parse_user, wish.users):
        databases = tuple(wish.databases) if user.databases is None else user.databases
        users.append(
            {
                "name": user.name,
                **({"host": user.host} if user.host else {}),
                **({"databases": list(databases)} if databases else {}),
            }
        )
    volume = {"size": wish.volume}
    if wish.storage_class:
        volume["storageClassName"] = wish.storage_class
    spec: dict[str, Any] = {
        "datastore": parse_datastore(wish.datastore),
        "flavor": wish.flavor,
        "volume": volume,
    }
    if wish.databases:
        spec["databases"] = [{"name": name} for name in wish.databases]
    if users:
        spec["users"] = users
    if wish.configuration:
        spec["configurationRef"] = {"name": wish.configuration}
    if wish.deletion_policy:
        spec["deletionPolicy"] = wish.deletion_policy
    if wish.deletion_protection:
        spec["deletionProtection"] = True
    check_instance(wish.name, spec)
    return {
        "apiVersion": API_VERSION,
        "kind": "DatabaseInstance",
        "metadata": {"name": wish.name, "namespace": wish.namespace},
        "spec": spec,
    }


def check_instance(name: str, spec: Mapping[str, Any]) -> None:
    """Raises CliError for what can be no DatabaseInstance."""
    if not is_instance_name(name):
        raise CliError(f"{name}: {NAME_RULE['message']}", Exit.USAGE)
    try:
        InstanceSpec.model_validate(spec)
    except ValidationError as error:
        raise CliError(explain(error), Exit.USAGE) from None


def operation_manifest(
    instance: str, namespace: str, operation: OperationType, *, not_after: str, ttl_s: int
) -> dict[str, Any]:
    """An Operation that is not begun after `not_after` (RFC 3339) and removed `ttl_s` after it."""
    spec = OperationSpec.model_validate(
        {
            "instanceRef": {"name": instance},
            "type": operation,
            "notAfter": not_after,
            "ttlSecondsAfterFinished": ttl_s,
        }
    )
    word = "reset-status" if operation is OperationType.RESET_STATUS else operation.value.lower()
    return {
        "apiVersion": API_VERSION,
        "kind": "Operation",
        "metadata": {"generateName": f"{instance}-{word}-", "namespace": namespace},
        "spec": spec.model_dump(mode="json", by_alias=True, exclude_none=True),
    }


def explain(error: ValidationError) -> str:
    """What a model says of a spec, in one line."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        path = "".join(
            f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]
        )
        lines.append(f"spec{path}: {problem['msg']} (got {problem['input']!r})")
    return "; ".join(lines)
