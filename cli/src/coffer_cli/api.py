"""The API server as the command line uses it: plain dicts in and out, one method per verb.

Raises ApiError and UnreachableError only (and CliError where kubeconfig is at fault). It decides
nothing about the objects.
"""

import contextlib
import email.utils
import http.client
import json
import re
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from coffer_cli.errors import ApiError, CliError, Exit, UnreachableError, from_answer
from coffer_cli.kubeconfig import Target
from coffer_cli.login import Login
from coffer_cli.transport import Transport
from coffer_common.naming import GROUP, VERSION

Object = dict[str, Any]

REQUEST_TIMEOUT_S: Final = 30.0
_ATTEMPTS: Final = 4  # where the server says 429 and when to come back
_PATIENCE_S: Final = 10.0  # the longest that it may put us off
_PAGE: Final = 500
_CONTENT_TYPES: Final = {"PATCH": "application/merge-patch+json"}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")


@dataclass(frozen=True)
class Kind:
    """Where objects of one kind live in the API."""

    group: str  # "" for the core group
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As kubectl names it before a slash: `databaseinstance.coffer.dev`."""
        return f"{self.kind.lower()}.{self.group}" if self.group else self.kind.lower()

    def path(self, namespace: str | None, name: str | None = None) -> str:
        """The URL path of a collection or an object; no namespace: of all namespaces.

        Raises CliError for what cannot be a name, so that it is never part of a path.
        """
        for part in (namespace, name):
            if part is not None and _NAME.fullmatch(part) is None:
                raise CliError(f"{part!r} is not the name of anything in Kubernetes", Exit.USAGE)
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if self.namespaced and namespace is not None else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name is not None else "")


INSTANCE: Final = Kind(GROUP, VERSION, "DatabaseInstance", "databaseinstances")
OPERATION: Final = Kind(GROUP, VERSION, "Operation", "operations")
CONFIGURATION_GROUP: Final = Kind(GROUP, VERSION, "ConfigurationGroup", "configurationgroups")
DATASTORE_VERSION: Final = Kind(GROUP, VERSION, "DatastoreVersion", "datastoreversions", False)
FLAVOR: Final = Kind(GROUP, VERSION, "Flavor", "flavors", False)
BACKUP: Final = Kind(GROUP, VERSION, "Backup", "backups")
BACKUP_STORAGE: Final = Kind(GROUP, VERSION, "BackupStorage", "backupstorages")
BACKUP_SCHEDULE: Final = Kind(GROUP, VERSION, "BackupSchedule", "backupschedules")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
SECRET: Final = Kind("", "v1", "Secret", "secrets")
POD: Final = Kind("", "v1", "Pod", "pods")
EVENT: Final = Kind("", "v1", "Event", "events")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment", "deployments")


class Api:
    """One API server, as one user."""

    def __init__(self, target: Target, sleep: Callable[[float], None] = time.sleep) -> None:
        self._login = Login(target.user, target.cluster)
        self._cluster = target.cluster
        self._sleep = sleep
        self._transport: Transport | None = None
        self._idle: http.client.HTTPConnection | None = None
        self._server_time: tuple[datetime, float] | None = None  # and when we learned it

    def close(self) -> None:
        """Give back the connection."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def now(self) -> datetime:
        """The time by the server's clock once it has answered, else by ours."""
        if self._server_time is None:
            return datetime.now(UTC)
        told, at = self._server_time
        return datetime.fromtimestamp(told.timestamp() + time.monotonic() - at, UTC)

    def get(self, kind: Kind, namespace: str | None, name: str) -> Object:
        return self._json("GET", kind.path(namespace, name))

    def get_path(self, path: str) -> Object:
        return self._json("GET", path)

    def list(self, kind: Kind, namespace: str | None, **query: str) -> list[Object]:
        """All objects, page by page; each with the apiVersion and kind that lists leave out."""
        items: list[Object] = []
        more = ""
        while True:
            asked = {**query, "limit": str(_PAGE), **({"continue": more} if more else {})}
            page = self._json("GET", kind.path(namespace), query=asked)
            items += (
                {"apiVersion": kind.api_version, "kind": kind.kind, **item}
                for item in page.get("items") or ()
            )
            more = page.get("metadata", {}).get("continue") or ""
            if not more:
                return items

    def create(self, kind: Kind, obj: Mapping[str, Any], *, dry_run: bool = False) -> Object:
        query = {"fieldManager": "kubectl-coffer", "fieldValidation": "Strict"}
        if dry_run:
            query["dryRun"] = "All"
        namespace = obj["metadata"].get("namespace")
        return self._json("POST", kind.path(namespace), query=query, body=obj)

    def merge_patch(
        self, kind: Kind, namespace: str | None, name: str, patch: Mapping[str, Any]
    ) -> Object:
        """The object after a JSON merge patch (RFC 7386).

        A resourceVersion in the patch's metadata makes it conditional: ApiError with status 409
        where the object is another one by now.
        """
        query = {"fieldManager": "kubectl-coffer", "fieldValidation": "Strict"}
        return self._json("PATCH", kind.path(namespace, name), query=query, body=patch)

    def delete(self, kind: Kind, namespace: str | None, name: str, *, uid: str) -> None:
        """Delete that very object; what it owns goes in the background."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Background",
            "preconditions": {"uid": uid},
        }
        self._json("DELETE", kind.path(namespace, name), body=options)

    def watch(
        self, kind: Kind, namespace: str | None, name: str, *, version: str, timeout_s: float
    ) -> Generator[tuple[str, Object], None, None]:
        """Changes of one object after resourceVersion `version`: (ADDED …, object) each.

        Ends when the server ends it, at the latest after `timeout_s`. ApiError with status 410:
        the version is too old.
        """
        query = {
            "watch": "true",
            "fieldSelector": f"metadata.name={name}",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, int(timeout_s))),
        }
        path = kind.path(namespace)
        connection, answer = self._send("GET", path, query, None, timeout_s)
        with contextlib.closing(connection):
            try:
                while line := answer.readline():
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        code = int(status.get("code") or 500)
                        raise from_answer(code, json.dumps(status).encode(), path=path)
                    yield event["type"], event["object"]
            except TimeoutError:
                return
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise self._open_transport().unreachable(error) from None

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Object:
        connection, answer = self._send(method, path, query or {}, body, REQUEST_TIMEOUT_S)
        try:
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise self._open_transport().unreachable(error) from None
        if answer.will_close:
            connection.close()
        else:
            self._idle = connection
        try:
            parsed = json.loads(data)
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            raise UnreachableError(f"{path}: the answer is not of an API server", Exit.FAILED)
        return parsed

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        timeout_s: float,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """An answer below 400, its body unread; from 400 on the error that it stands for."""
        login_again = True
        for attempt in range(1, _ATTEMPTS + 1):
            connection, answer = self._attempt(method, path, query, body, timeout_s)
            if answer.status < 400:
                return connection, answer
            error = from_answer(answer.status, _read(answer), path=path)
            connection.close()
            if answer.status == 401 and login_again and self._login.forget():
                login_again = False
                self._transport = None  # the certificate may be another one, too
            elif answer.status == 429 and attempt < _ATTEMPTS:  # refused unread: safe to repeat
                self._sleep(_put_off_s(answer.headers.get("Retry-After")))
            else:
                raise error
        raise error

    def _attempt(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None,
        timeout_s: float,
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        transport = self._open_transport()
        target = transport.prefix + path + (f"?{urlencode(query)}" if query else "")
        headers = {"Accept": "application/json", "User-Agent": "kubectl-coffer"}
        headers |= self._login.headers()
        data = None
        if body is not None:
            headers["Content-Type"] = _CONTENT_TYPES.get(method, "application/json")
            data = json.dumps(body).encode()
        connection = self._take_idle(method, timeout_s) or transport.open(timeout_s)
        try:
            connection.request(method, target, body=data, headers=headers)
            answer = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise transport.unreachable(error) from None
        self._learn_time(answer.headers.get("Date"))
        return connection, answer

    def _open_transport(self) -> Transport:
        if self._transport is None:
            self._idle = None
            self._transport = Transport(self._cluster, self._login.certificate())
        return self._transport

    def _take_idle(self, method: str, timeout_s: float) -> http.client.HTTPConnection | None:
        """The connection of an earlier request; only for what may be sent twice without harm."""
        connection, self._idle = self._idle, None
        if connection is None or connection.sock is None:
            return None
        if method != "GET":
            connection.close()
            return None
        connection.sock.settimeout(timeout_s)
        return connection

    def _learn_time(self, date: str | None) -> None:
        if date is None:
            return
        with contextlib.suppress(ValueError, TypeError):
            self._server_time = (email.utils.parsedate_to_datetime(date), time.monotonic())


def _read(answer: http.client.HTTPResponse) -> bytes:
    try:
        return answer.read()
    except (OSError, http.client.HTTPException):
        return b""


def _put_off_s(retry_after: str | None) -> float:
    try:
        return min(max(float(retry_after or 1), 0.1), _PATIENCE_S)
    except ValueError:
        return 1.0


def is_missing(error: CliError) -> bool:
    """Whether the object itself, or its kind, does not exist."""
    return isinstance(error, ApiError) and error.status == 404
