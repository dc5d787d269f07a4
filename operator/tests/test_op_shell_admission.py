"""The webhook: the same words as the plan's, and no answer it cannot know."""

import base64
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from coffer_operator.kube.api import VALIDATING_WEBHOOK
from coffer_operator.plan.validate import validate_instance
from coffer_operator.shell.admission import PATH, Known, application, register, review
from op_plan_worlds import catalogue, datastore_version, instance_obj
from sim_apiserver import ApiServer
from sim_client import SimClient


def request(kind: str, obj: Any, old: Any = None, operation: str = "CREATE") -> dict[str, Any]:
    return {
        "uid": "review-1",
        "kind": {"group": "coffer.dev", "version": "v1alpha1", "kind": kind},
        "operation": operation,
        "object": obj,
        "oldObject": old,
    }


def test_a_good_instance_is_allowed() -> None:
    answer = review(request("DatabaseInstance", instance_obj()), Known(catalogue()))
    assert answer == {"uid": "review-1", "allowed": True}


def test_a_bad_one_is_refused_in_the_words_of_the_plan() -> None:
    obj = instance_obj(flavor="enormous", volume={"size": "1Mi"})
    answer = review(request("DatabaseInstance", obj), Known(catalogue()))
    words = [error.message for error in validate_instance(obj, catalogue(), None)]
    assert len(words) == 2
    assert not answer["allowed"]
    assert answer["status"]["code"] == 422
    assert answer["status"]["message"] == "; ".join(words)


def test_a_second_default_version_is_refused() -> None:
    second = datastore_version("mariadb-11.4").model_dump(by_alias=True, mode="json")
    answer = review(request("DatastoreVersion", second), Known(catalogue()))
    assert "is the default of mariadb already" in answer["status"]["message"]


@pytest.mark.parametrize(
    "asked",
    [
        request("DatabaseInstance", None, instance_obj(), "DELETE"),
        request("Operation", {"spec": {}}),
    ],
)
def test_what_it_does_not_judge_is_allowed(asked: dict[str, Any]) -> None:
    assert review(asked, Known(catalogue()))["allowed"]


async def test_without_a_catalogue_it_does_not_answer() -> None:
    app = application(lambda: None)
    http = make_mocked_request("POST", PATH, app=app)
    match = await app.router.resolve(http)
    with pytest.raises(Exception, match="Service Unavailable"):
        await match.handler(http)


async def test_the_authority_is_written_where_it_differs() -> None:
    server = ApiServer(random.Random(0), lambda: datetime(2026, 1, 1, tzinfo=UTC))
    hooks = [
        {
            "name": "validate.coffer.dev",
            "clientConfig": {"service": {"name": "coffer-webhook", "namespace": "x"}},
            "failurePolicy": "Ignore",
        }
    ]
    server.create(
        VALIDATING_WEBHOOK,
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "coffer"},
            "webhooks": hooks,
        },
    )
    bundle = base64.b64encode(b"pem").decode()
    assert await register(SimClient(server), "coffer", bundle)
    [hook] = server.get(VALIDATING_WEBHOOK, None, "coffer")["webhooks"]
    assert hook["clientConfig"]["caBundle"] == bundle
    assert hook["clientConfig"]["service"]["name"] == "coffer-webhook"
    assert hook["failurePolicy"] == "Ignore"
    assert not await register(SimClient(server), "coffer", bundle)
