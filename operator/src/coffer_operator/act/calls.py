"""Calls to an agent: engine, databases, and users with their binding Secrets.

Owns passwords for as long as a call takes; never logs one, never puts one into an error.
"""

import base64
import binascii
import secrets
import string
from collections.abc import Callable, Mapping
from urllib.parse import quote

from coffer_common import naming
from coffer_common.errors import UserError
from coffer_common.wire import UserRequest
from coffer_operator.act.journal import Journal
from coffer_operator.act.tasks import call_task
from coffer_operator.guest.api import AgentAddress, AgentClient, AgentUnreachableError
from coffer_operator.kube.api import ABSENT, SECRET, Key, KubeApi, NotFoundError, Object
from coffer_operator.plan.model import (
    Call,
    CancelTask,
    EngineCall,
    EnsureDatabase,
    EnsureUser,
    PutConfiguration,
    PutTask,
)
from coffer_operator.plan.wording import name_taken
from coffer_operator.plan.world import PodFact

PASSWORD_LENGTH = 36  # the book's length of generated passwords
_ALPHABET = string.ascii_letters + string.digits


def draw_password() -> str:
    """A password of 36 letters and digits: 214 bits, and nothing that a URI must escape."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(PASSWORD_LENGTH))


class Caller:
    """Carries out the calls of plans."""

    def __init__(
        self,
        api: KubeApi,
        agents: AgentClient,
        journal: Journal,
        draw: Callable[[], str] = draw_password,
    ) -> None:
        self._api = api
        self._agents = agents
        self._journal = journal
        self._draw = draw

    async def carry_out(self, key: Key, pod: PodFact | None, call: Call) -> None:
        """One call to the instance's agent. Raises the errors of agents, KubeApi, and UserError."""
        if pod is None or pod.ip is None:
            raise AgentUnreachableError("the pod has no address")
        at = AgentAddress(pod.ip, naming.agent_host(key.name, key.namespace))
        match call:
            case EngineCall(action, token):
                await self._agents.engine(at, action, token)
            case EnsureDatabase(name, request):
                await self._agents.put_database(at, name, request)
            case EnsureUser():
                await self._ensure_user(key, at, call)
            case PutConfiguration(request):
                await self._agents.put_configuration(at, request)
            case PutTask() | CancelTask():
                await call_task(self._api, self._agents, at, key.namespace, call)

    async def _ensure_user(self, key: Key, at: AgentAddress, user: EnsureUser) -> None:
        """The Secret first, on the version it was read at; then the engine, as the Secret says.

        Dying in between costs nothing: the user is set again. Of two operators at once one is
        refused the Secret, and reads what the other wrote.
        """
        present = await self._binding(key, user.secret_name)
        wanted = binding(key, user, await self._password(key, user, present))
        if present is None or present.get("data") != wanted["data"]:
            version = ABSENT if present is None else present["metadata"]["resourceVersion"]
            wanted["metadata"]["resourceVersion"] = version
            await self._api.apply(SECRET, wanted)
        password = _value(wanted, "password") or ""
        request = UserRequest(host=user.host, password=password, databases=user.databases)
        await self._agents.put_user(at, user.name, request)
        self._journal.ensured_user(key, user.key)

    async def _binding(self, key: Key, name: str) -> Object | None:
        try:
            found = await self._api.get(SECRET, key.namespace, name)
        except NotFoundError:
            return None
        if not self._journal.is_ours(key, found):
            self._journal.found_foreign(key, SECRET, found)
            raise name_taken(SECRET.kind, name)
        return found

    async def _password(self, key: Key, user: EnsureUser, present: Object | None) -> str:
        if user.password_secret is not None:
            return await self._given_password(key.namespace, *user.password_secret)
        return _value(present, "password") or self._draw()

    async def _given_password(self, namespace: str, name: str, key: str) -> str:
        try:
            found = await self._api.get(SECRET, namespace, name)
        except NotFoundError:
            what = f"Secret {name} does not exist; create it with the password under the key {key}"
            raise _password_missing(what) from None
        password = _value(found, key)
        if not password:
            raise _password_missing(f"Secret {name} has no text under the key {key}; put it there")
        return password


def _password_missing(what: str) -> UserError:
    """Secrets are not watched: until one is there, it is looked for ever more seldom."""
    soon = "it is looked for every few minutes, and at once when the instance is edited"
    return UserError("PasswordSecretMissing", f"{what} ({soon})")


def call_name(call: Call) -> str:
    """How a condition names the call."""
    match call:
        case EngineCall(action):
            return f"engine {action}"
        case EnsureDatabase(name):
            return f"database {name}"
        case EnsureUser(name, host):
            return f"user {name}@{host}"
        case PutConfiguration():
            return "configuration"
        case PutTask(_, kind):
            return f"task {kind}"
        case CancelTask():
            return "cancel task"


def binding(key: Key, user: EnsureUser, password: str) -> Object:
    """The Secret with a user's credentials, in the form of the Service Binding specification."""
    values = {**user.binding, "username": user.name, "password": password}
    values["uri"] = uri(values)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": user.secret_name,
            "namespace": key.namespace,
            "labels": dict(user.labels),
            "ownerReferences": [dict(user.owner_reference)],
        },
        "type": f"servicebinding.io/{values['type']}",
        "data": {name: base64.b64encode(v.encode()).decode() for name, v in values.items()},
    }


def uri(values: Mapping[str, str]) -> str:
    """`type://username:password@host:port/database`, each part escaped (RFC 3986)."""
    user, password = quote(values["username"], safe=""), quote(values["password"], safe="")
    database = quote(values.get("database", ""), safe="")
    return (
        f"{values['type']}://{user}:{password}@{values['host']}:{values['port']}"
        f"{'/' + database if database else ''}"
    )


def _value(secret: Object | None, key: str) -> str | None:
    """A value of a Secret as text; None where there is none."""
    encoded = (secret or {}).get("data", {}).get(key)
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
