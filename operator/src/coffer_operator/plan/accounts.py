"""The databases and users of an instance: which are missing, and which Secrets they have.

Pure. Databases and users are made through the agent; one that leaves the spec is not dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from coffer_common import naming
from coffer_common.resources.instance import UserEntry
from coffer_common.resources.instance_status import BindingSecret
from coffer_common.wire import DatabaseRequest
from coffer_operator.build.identity import Blueprint
from coffer_operator.plan.agent import AgentView
from coffer_operator.plan.model import EnsureDatabase, EnsureUser
from coffer_operator.plan.validate_names import ANY_HOST
from coffer_operator.plan.world import World

PROVIDER: Final = "coffer"


@dataclass(frozen=True)
class Accounts:
    """What is to be called, the Secrets that status names, and how much is still missing.

    `missing`: databases and users not there yet, in words; None: cannot tell.
    """

    calls: tuple[EnsureDatabase | EnsureUser, ...]
    bindings: tuple[BindingSecret, ...]
    missing: str | None


def service_host(service: str, namespace: str) -> str:
    """A Service's name as any pod of the cluster can resolve it."""
    return f"{service}.{namespace}.svc"


def plan_accounts(world: World, blueprint: Blueprint, view: AgentView) -> Accounts:
    """Calls for what the engine lacks; nothing while the engine cannot be asked."""
    spec = world.instance.spec
    names = _secret_names(world)
    recorded = {(b.user, b.host): b for b in world.instance.status.binding_secrets}
    databases = view.live.databases if view.live and view.engine_answers else None
    users = view.live.users if view.live and view.engine_answers else None
    calls: list[EnsureDatabase | EnsureUser] = []
    if databases is not None:
        calls += [
            EnsureDatabase(
                entry.name,
                DatabaseRequest(character_set=entry.character_set, collate=entry.collate),
            )
            for entry in spec.databases
            if entry.name not in databases
        ]
    bindings: list[BindingSecret] = []
    for user in spec.users:
        call = _ensure_user(blueprint, user, names[user.name, user.host or ANY_HOST])
        entry = BindingSecret(
            user=call.name, host=call.host, name=call.secret_name, revision=call.revision
        )
        former = recorded.get((call.name, call.host))
        is_set = former == entry or call.key in world.ensured_users
        on_engine = users is not None and f"{call.name}@{call.host}" in users
        if is_set and (on_engine or users is None):
            bindings.append(entry)
        elif former is not None:
            bindings.append(former)
        if users is not None and not (on_engine and is_set):
            calls.append(call)
    return Accounts(tuple(calls), tuple(bindings), _missing(world, view, tuple(calls), bindings))


def _missing(
    world: World,
    view: AgentView,
    calls: tuple[EnsureDatabase | EnsureUser, ...],
    bindings: list[BindingSecret],
) -> str | None:
    spec = world.instance.spec
    if calls:
        return ", ".join(_words(calls))
    if len(bindings) < len(spec.users):
        return "users" if view.live is not None and view.live.users is not None else None
    unknown = view.live is None or view.live.databases is None
    return None if spec.databases and unknown else ""


def _words(calls: tuple[EnsureDatabase | EnsureUser, ...]) -> Iterator[str]:
    for call in calls:
        what = "database" if isinstance(call, EnsureDatabase) else "user"
        yield f"{what} {call.name}"


def _ensure_user(blueprint: Blueprint, user: UserEntry, secret: str) -> EnsureUser:
    identity = blueprint.identity
    binding = {
        "type": identity.datastore,
        "provider": PROVIDER,
        "host": service_host(naming.read_write_service(identity.group), identity.namespace),
        "port": str(blueprint.service_port),
    }
    if user.databases:
        binding["database"] = user.databases[0]
    reference = user.password_secret_ref
    return EnsureUser(
        name=user.name,
        host=user.host or ANY_HOST,
        databases=user.databases,
        secret_name=secret,
        binding=binding,
        labels=identity.labels,
        owner_reference=identity.owner_reference,
        password_secret=(reference.name, reference.key) if reference else None,
        revision=_revision(blueprint, user),
    )


def _revision(blueprint: Blueprint, user: UserEntry) -> str:
    """Another one for another port, which the Secret tells; the version's own leaves no mark."""
    moved = blueprint.service_port != blueprint.port
    text = user.model_dump_json(include={"databases", "password_secret_ref"})
    return naming.short_hash(f"{text} {blueprint.service_port}" if moved else text)


def _secret_names(world: World) -> dict[tuple[str, str], str]:
    """Name of the Secret per (user, host); once given, a name stays."""
    given = {(b.user, b.host): b.name for b in world.instance.status.binding_secrets}
    instance = world.instance.metadata.name
    taken = {naming.agent_tls(instance), *given.values()}  # what a user's name must not lead to
    names: dict[tuple[str, str], str] = {}
    for user in world.instance.spec.users:
        key = (user.name, user.host or ANY_HOST)
        name = given.get(key) or naming.binding_secret(instance, *key)
        if key not in given and name in taken:
            name = naming.binding_secret(instance, *key, others=True)
        taken.add(name)
        names[key] = name
    return names
