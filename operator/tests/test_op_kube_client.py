"""The client: what it sends, what it makes of answers, and when it asks again."""

import json
import random
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from coffer_common.errors import CofferError
from coffer_operator.kube.api import (
    CONFIG_MAP,
    INSTANCE,
    NAMESPACE_TERMINATING,
    ConflictError,
    ForbiddenError,
    GoneError,
    InvalidError,
    NotFoundError,
    UnavailableError,
)
from coffer_operator.kube.client import KubeClient
from coffer_operator.kube.errors import error_of
from coffer_operator.kube.retry import ATTEMPTS, LONGEST_WAIT_S

pytestmark = pytest.mark.looptime

OBJ = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "a"}}


class Answer:
    """An HTTP response."""

    def __init__(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.headers = headers or {}
        self._body = body
        self.closed = False

    async def read(self) -> bytes:
        return json.dumps(self._body).encode()

    @property
    def content(self) -> AsyncIterator[bytes]:
        async def lines() -> AsyncIterator[bytes]:
            for line in self._body:
                if isinstance(line, Exception):
                    raise line
                yield json.dumps(line).encode() + b"\n"

        return lines()

    def close(self) -> None:
        self.closed = True


class Transport:
    """kubernetes.aio's ApiClient as far as it is used."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.configuration = SimpleNamespace(host="https://api")
        self.default_headers = {"User-Agent": "coffer-operator"}
        self.user_agent = ""
        self.sent: list[tuple[str, str, dict[str, str], Any]] = []
        self._answers = list(answers)

    async def call_api(
        self, method: str, url: str, headers: dict[str, str], body: Any, *, _request_timeout: Any
    ) -> Any:
        self.sent.append((method, url, headers, body))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(response=answer)

    async def update_params_for_auth(self, headers: dict[str, str], *_: object) -> None:
        headers["authorization"] = "Bearer token"


def client(transport: Transport, told: list[tuple[str, int]] | None = None) -> KubeClient:
    def tell(verb: str, code: int, seconds: float) -> None:
        del seconds
        if told is not None:
            told.append((verb, code))

    return KubeClient(transport, random.Random(0), tell)


def status(code: int, message: str = "no", **details: Any) -> dict[str, Any]:
    return {"kind": "Status", "code": code, "message": message, "details": details}


async def test_an_apply_is_forced_under_our_name() -> None:
    transport = Transport(Answer(201, OBJ))
    assert await client(transport).apply(CONFIG_MAP, OBJ) == OBJ
    [(method, url, headers, body)] = transport.sent
    assert method == "PATCH"
    assert url == ("https://api/api/v1/namespaces/a/configmaps/x?fieldManager=coffer&force=true")
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["authorization"] == "Bearer token"
    assert body == OBJ


async def test_a_status_is_merged() -> None:
    transport = Transport(Answer(200, OBJ))
    patch = {"status": {"phase": "Active"}}
    await client(transport).patch(INSTANCE, "a", "shop", patch, subresource="status")
    [(method, url, headers, _)] = transport.sent
    assert (method, headers["Content-Type"]) == ("PATCH", "application/merge-patch+json")
    path = "/apis/coffer.dev/v1alpha1/namespaces/a/databaseinstances/shop/status"
    assert url == f"https://api{path}?fieldManager=coffer"


async def test_a_list_is_paged() -> None:
    body = {"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [OBJ]}
    transport = Transport(Answer(200, body))
    page = await client(transport).list_page(
        CONFIG_MAP, label_selector="a=b", limit=2, continue_token="before"
    )
    assert (page.items, page.resource_version, page.continue_token) == ((OBJ,), "9", "more")
    assert transport.sent[0][1] == (
        "https://api/api/v1/configmaps?limit=2&labelSelector=a%3Db&continue=before"
    )


async def test_a_log_is_read_as_it_is() -> None:
    transport = Transport(Answer(200, "a line"))
    text = await client(transport).log("a", "x", "worker", limit_bytes=9)
    assert text == '"a line"'
    [(method, url, headers, _)] = transport.sent
    path = "/api/v1/namespaces/a/pods/x/log"
    assert (method, url) == ("GET", f"https://api{path}?container=worker&limitBytes=9")
    assert headers["Accept"].startswith("text/plain")


async def test_a_deletion_names_the_very_object_and_absence_is_success() -> None:
    transport = Transport(Answer(404, status(404)))
    await client(transport).delete(CONFIG_MAP, "a", "x", uid="u", grace_period_s=0)
    [(method, _, _, body)] = transport.sent
    assert method == "DELETE"
    assert body["preconditions"] == {"uid": "u"}
    assert body["gracePeriodSeconds"] == 0
    assert body["propagationPolicy"] == "Background"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (400, InvalidError),
        (401, ForbiddenError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (410, GoneError),
        (422, InvalidError),
        (429, UnavailableError),
        (500, UnavailableError),
        (504, UnavailableError),
    ],
)
def test_every_refusal_has_its_error(code: int, error: type[CofferError]) -> None:
    found = error_of(code, json.dumps(status(code, "because")).encode())
    assert type(found) is error
    assert str(found) == "because"


def test_an_answer_that_is_no_status_is_quoted() -> None:
    assert str(error_of(502, b"<html>bad gateway")) == "<html>bad gateway"
    assert str(error_of(503, b"")) == "503"


def test_a_terminating_namespace_is_told_apart() -> None:
    body = json.dumps(status(403, causes=[{"reason": NAMESPACE_TERMINATING}])).encode()
    found = error_of(403, body)
    assert isinstance(found, ForbiddenError)
    assert found.cause == NAMESPACE_TERMINATING


@pytest.mark.parametrize(
    "trouble",
    [
        Answer(429, status(429)),
        Answer(500, status(500)),
        aiohttp.ClientConnectionError("reset"),
        TimeoutError(),
        ConnectionResetError(),
    ],
)
async def test_what_may_pass_is_asked_again(trouble: Answer | Exception) -> None:
    told: list[tuple[str, int]] = []
    transport = Transport(trouble, trouble, Answer(200, OBJ))
    assert await client(transport, told).get(CONFIG_MAP, "a", "x") == OBJ
    assert [verb for verb, _ in told] == ["get", "get", "get"]
    assert told[-1] == ("get", 200)


async def test_after_enough_attempts_it_is_left_to_the_queue() -> None:
    transport = Transport(Answer(503, status(503, "down")))
    with pytest.raises(UnavailableError, match="down"):
        await client(transport).get(CONFIG_MAP, "a", "x")
    assert len(transport.sent) == ATTEMPTS


async def test_a_server_that_asks_for_long_patience_gets_it_from_the_queue() -> None:
    transport = Transport(Answer(429, status(429), {"Retry-After": "30"}))
    with pytest.raises(UnavailableError) as caught:
        await client(transport).get(CONFIG_MAP, "a", "x")
    assert caught.value.retry_after_s == 30 > LONGEST_WAIT_S
    assert len(transport.sent) == 1


async def test_a_refusal_is_not_repeated() -> None:
    transport = Transport(Answer(422, status(422)))
    with pytest.raises(InvalidError):
        await client(transport).apply(CONFIG_MAP, OBJ)
    assert len(transport.sent) == 1


async def watched(*lines: Any) -> tuple[list[str], Answer]:
    answer = Answer(200, list(lines))
    transport = Transport(answer)
    found: list[str] = []
    try:
        async for event in client(transport).watch(CONFIG_MAP, resource_version="5"):
            found.append(event.type)
    finally:
        assert "allowWatchBookmarks=true" in transport.sent[0][1]
        assert "resourceVersion=5" in transport.sent[0][1]
    return found, answer


async def test_a_watch_tells_events_until_it_ends() -> None:
    found, answer = await watched(
        {"type": "ADDED", "object": OBJ}, {"type": "BOOKMARK", "object": OBJ}
    )
    assert found == ["ADDED", "BOOKMARK"]
    assert answer.closed


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ({"type": "ERROR", "object": status(410, "too old")}, GoneError),
        ({"type": "ERROR", "object": status(500, "boom")}, UnavailableError),
        (aiohttp.ClientPayloadError("cut"), UnavailableError),
    ],
)
async def test_a_watch_that_breaks_says_how(line: Any, error: type[CofferError]) -> None:
    with pytest.raises(error):
        await watched({"type": "ADDED", "object": OBJ}, line)


async def test_a_watch_may_be_refused_at_once() -> None:
    with pytest.raises(GoneError):
        async for _ in client(Transport(Answer(410, status(410)))).watch(
            CONFIG_MAP, resource_version="1"
        ):
            pass
