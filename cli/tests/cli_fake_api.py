"""A small API server on the loopback interface, for the command line's tests.

It stores objects by path, lists, creates, patches, deletes and watches as the real one does where
the command line depends on it; `script` says how an object changes while somebody watches it.
"""

import json
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]
Answer = tuple[int, Object | str]

CREATED = "2026-01-01T00:00:00Z"


def status(code: int, reason: str, message: str, **more: Any) -> Answer:
    """A Status as the API server answers with."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure"}
    return code, {**body, "message": message, "reason": reason, "code": code, **more}


class FakeApi:
    """The server's state; every method may be called from any thread."""

    def __init__(self) -> None:
        self.objects: dict[str, Object] = {}
        self.requests: list[tuple[str, str]] = []
        self.bodies: list[Object] = []
        self.headers: list[Mapping[str, str]] = []
        self.refusals: dict[tuple[str, str], list[Answer]] = {}
        self.retry_after = "0"
        self._version = 100
        self._scripts: dict[str, list[Callable[[], object]]] = {}
        self._watchers: list[tuple[str, str, queue.Queue[Object | None]]] = []
        self._lock = threading.RLock()
        server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"api": self}))
        server.daemon_threads = True
        self._server = server
        self._thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        with self._lock:
            for _, _, events in self._watchers:
                events.put(None)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    # --- what a test says -------------------------------------------------------------------------
    def put(self, path: str, obj: Object) -> Object:
        """Store an object and tell those who watch."""
        with self._lock:
            self._version += 1
            old = self.objects.get(path)
            metadata: Object = {"uid": f"uid-{self._version}", "creationTimestamp": CREATED}
            metadata |= (old or {}).get("metadata", {}) | obj.get("metadata", {})
            metadata |= {"resourceVersion": str(self._version)}
            metadata.setdefault("generation", 1)
            obj = {**obj, "metadata": metadata}
            self.objects[path] = obj
            self._tell(path, "MODIFIED" if old else "ADDED", obj)
            return obj

    def patch_status(self, path: str, fields: Object) -> None:
        self.put(path, {**self.objects[path], "status": fields})

    def remove(self, path: str) -> None:
        with self._lock:
            self._tell(path, "DELETED", self.objects.pop(path))

    def script(self, path: str, *steps: Callable[[], object]) -> None:
        """What happens, in order, once somebody watches the object at `path`."""
        self._scripts[path] = list(steps)

    def refuse(self, method: str, path: str, *answers: Answer) -> None:
        """The next answers to such requests."""
        self.refusals.setdefault((method, path), []).extend(answers)

    def asked(self, method: str) -> list[str]:
        """The paths of all requests with this method, with their queries."""
        return [path for verb, path in self.requests if verb == method]

    # --- what the server does ---------------------------------------------------------------------
    def answer(self, method: str, url: str, body: Object | None) -> Answer:
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        with self._lock:
            self.requests.append((method, url))
            if body is not None:
                self.bodies.append(body)
            waiting = self.refusals.get((method, parts.path))
            if waiting:
                return waiting.pop(0)
            match method:
                case "GET" if parts.path in self.objects or self._is_collection(parts.path):
                    found = self.objects.get(parts.path)
                    return 200, self._list(parts.path, query) if found is None else found
                case "POST":
                    return self._create(parts.path, query, body or {})
                case "PATCH" if parts.path in self.objects:
                    return self._patch(parts.path, body or {})
                case "DELETE" if parts.path in self.objects:
                    return self._delete(parts.path, body or {})
                case _:
                    kind, name = parts.path.split("/")[-2:]
                    return status(404, "NotFound", f'{kind} "{name}" not found')

    def watch(self, url: str) -> Iterator[Object]:
        parts = urlsplit(url)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        name = query["fieldSelector"].removeprefix("metadata.name=")
        path = self._one(parts.path, name)
        events: queue.Queue[Object | None] = queue.Queue()
        with self._lock:
            self.requests.append(("WATCH", url))
            self._watchers.append((parts.path, name, events))
            current = self.objects.get(path)
            if current and current["metadata"]["resourceVersion"] != query["resourceVersion"]:
                events.put({"type": "MODIFIED", "object": current})
            for step in self._scripts.pop(path, []):
                step()
        while True:
            try:
                event = events.get(timeout=float(query["timeoutSeconds"]))
            except queue.Empty:
                return
            if event is None:
                return
            yield event

    def end_watches(self) -> None:
        with self._lock:
            for _, _, events in self._watchers:
                events.put(None)
            self._watchers.clear()

    def send(self, event: Object) -> None:
        """An event as it is, to everybody who watches anything."""
        with self._lock:
            for _, _, events in self._watchers:
                events.put(event)

    def _tell(self, path: str, kind: str, obj: Object) -> None:
        for collection, name, events in self._watchers:
            if self._one(collection, name) == path:
                events.put({"type": kind, "object": obj})

    def _one(self, collection: str, name: str) -> str:
        return f"{collection}/{name}"

    def _is_collection(self, path: str) -> bool:
        known = ("databaseinstances", "operations", "configurationgroups", "datastoreversions")
        more = ("flavors", "events", "pods", "deployments", "secrets", "configmaps")
        kept = ("backups", "backupstorages", "backupschedules")
        return path.rsplit("/", 1)[-1] in (*known, *more, *kept)

    def _list(self, path: str, query: Mapping[str, str]) -> Object:
        """Pages of two objects, so that following them is always tested."""
        head, plural = path.rsplit("/", 1)
        everywhere = "/namespaces/" not in head
        found = [
            obj
            for key, obj in sorted(self.objects.items())
            if key.rsplit("/", 2)[-2] == plural
            and key.startswith(head)
            and (everywhere or key.startswith(f"{path}/"))
            and self._selected(obj, query)
        ]
        start = int(query.get("continue", "0"))
        more = {"continue": str(start + 2)} if start + 2 < len(found) else {}
        items = [
            {k: v for k, v in obj.items() if k not in ("apiVersion", "kind")}
            for obj in found[start : start + 2]
        ]
        return {"kind": "List", "metadata": {"resourceVersion": "1", **more}, "items": items}

    def _selected(self, obj: Object, query: Mapping[str, str]) -> bool:
        if selector := query.get("fieldSelector"):
            uid = selector.removeprefix("involvedObject.uid=")
            return bool(obj.get("involvedObject", {}).get("uid") == uid)
        if selector := query.get("labelSelector"):
            wanted = dict(pair.split("=") for pair in selector.split(","))
            labels: dict[str, str] = obj["metadata"].get("labels", {})
            return wanted.items() <= labels.items()
        return True

    def _create(self, path: str, query: Mapping[str, str], body: Object) -> Answer:
        metadata = dict(body["metadata"])
        if "generateName" in metadata:
            metadata["name"] = metadata["generateName"] + "x7k2p"
        one = f"{path}/{metadata['name']}"
        if one in self.objects:
            plural = path.rsplit("/", 1)[-1]
            message = f'{plural}.coffer.dev "{metadata["name"]}" already exists'
            return status(409, "AlreadyExists", message)
        obj = {**body, "metadata": metadata}
        return 201, obj if "dryRun" in query else self.put(one, obj)

    def _patch(self, path: str, body: Object) -> Answer:
        """A JSON merge patch; generation counts the changes of spec."""
        current = self.objects[path]
        version = body.get("metadata", {}).get("resourceVersion")
        if version not in (None, current["metadata"]["resourceVersion"]):
            return status(409, "Conflict", "the object has been modified")
        merged = _merged(current, body)
        if merged["spec"] != current["spec"]:
            generation = current["metadata"]["generation"] + 1
            merged["metadata"] = {**merged["metadata"], "generation": generation}
        return 200, self.put(path, merged)

    def _delete(self, path: str, body: Object) -> Answer:
        wanted = body.get("preconditions", {}).get("uid")
        if wanted != self.objects[path]["metadata"]["uid"]:
            return status(409, "Conflict", "the UID in the precondition does not match")
        self.remove(path)
        return 200, {"kind": "Status", "status": "Success"}


def _merged(target: Object, patch: Object) -> Object:
    result = dict(target)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, dict):
            inner = result.get(key)
            result[key] = _merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[key] = value
    return result


class _Handler(BaseHTTPRequestHandler):
    """HTTP around `api`, which a subclass names."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else the body waits for the client to have heard the head
    api: FakeApi

    def do_GET(self) -> None:
        watched = "watch=true" in self.path
        refused = watched and self.api.refusals.get(("WATCH", urlsplit(self.path).path))
        if watched and not refused:
            self._stream()
        else:
            self._answer("WATCH" if refused else "GET")

    def do_POST(self) -> None:
        self._answer("POST")

    def do_PATCH(self) -> None:
        self._answer("PATCH")

    def do_DELETE(self) -> None:
        self._answer("DELETE")

    def _answer(self, method: str) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.api.headers.append(dict(self.headers))
        code, answer = self.api.answer(method, self.path, body)
        data = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if code == 429:
            self.send_header("Retry-After", self.api.retry_after)
        self.end_headers()
        self.wfile.write(data)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for event in self.api.watch(self.path):
                line = json.dumps(event).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.write(b"0\r\n\r\n")
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # nobody waits any more

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base's name
        """Silent."""
