"""The webhook: the same words as the plan's, and no answer it cannot know."""

import base64
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from coffer_common.naming import (
    ANNOTATION_DELETE_CHAIN,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    MANAGED_BY,
)
from coffer_common.resources.configuration import ConfigurationGroup
from coffer_operator.kube.api import (
    BACKUP,
    BACKUP_SCHEDULE,
    BACKUP_STORAGE,
    CONFIGURATION_GROUP,
    DATASTORE_VERSION,
    INSTANCE,
    SERVICE,
    VALIDATING_WEBHOOK,
    Key,
    UnavailableError,
)
from coffer_operator.observe.rulebook import packaged
from coffer_operator.plan.validate import validate_instance
from coffer_operator.shell.admission import (
    PATH,
    Known,
    application,
    register,
    review,
    taken_service,
)
from op_plan_worlds import catalogue, datastore_version, instance_obj
from op_stage import Faults
from sim_apiserver import NAMESPACE, ApiServer
from sim_client import SimClient

HOME, NAME = "prod", "shop"  # of instance_obj


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


def group(**values: Any) -> dict[str, Any]:
    datastore = {"type": "mariadb", "version": "10.11"}
    return {
        "metadata": {"name": "tuned", "namespace": "prod"},
        "spec": {"datastore": datastore, "values": values},
    }


def known(**groups: dict[str, Any]) -> Known:
    """What comes with Coffer, and these groups."""
    offered = catalogue()
    rules = {
        name: packaged(version.spec.datastore, version.spec.version)
        for name, version in offered.datastore_versions.items()
    }
    found = {
        Key("prod", name): ConfigurationGroup.model_validate(obj) for name, obj in groups.items()
    }
    return Known(replace(offered, rules=rules), found.get, packaged)


def test_a_groups_values_are_judged() -> None:
    fine = review(request("ConfigurationGroup", group(wait_timeout="1h")), known())
    assert fine["allowed"]
    answer = review(request("ConfigurationGroup", group(wait_timout=1)), known())
    assert "wait_timeout" in answer["status"]["message"], "the nearest name is told"


def test_an_instance_is_judged_with_the_group_that_it_names() -> None:
    redis = group()
    redis["spec"]["datastore"] = {"type": "redis", "version": "7.0"}
    obj = instance_obj(configurationRef={"name": "tuned"})
    assert review(request("DatabaseInstance", obj), known())["allowed"], "it may come later"
    assert review(request("DatabaseInstance", obj), known(tuned=group()))["allowed"]
    answer = review(request("DatabaseInstance", obj), known(tuned=redis))
    assert "redis 7.0" in answer["status"]["message"]


@pytest.mark.parametrize(
    "spec",
    [
        {"defaultValues": {"wait_timeout": "long"}},
        {"parameters": [{"name": "wait_timeout", "type": "enum"}]},
    ],
)
def test_what_the_administrator_says_of_parameters_is_judged(spec: dict[str, Any]) -> None:
    obj = datastore_version().model_dump(by_alias=True, mode="json")
    obj["spec"] |= spec
    answer = review(request("DatastoreVersion", obj), known())
    assert "wait_timeout" in answer["status"]["message"]


def test_the_chart_asks_for_all_that_is_judged() -> None:
    """And knows the annotation of chains by its name."""
    templates = Path(__file__).parents[2] / "charts/coffer/templates"
    asked = (templates / "webhook.yaml").read_text().split("resources:")[1]
    judged = (
        INSTANCE,
        CONFIGURATION_GROUP,
        DATASTORE_VERSION,
        BACKUP,
        BACKUP_STORAGE,
        BACKUP_SCHEDULE,
    )
    for kind in judged:
        answer = review(request(kind.kind, {"spec": {}}), Known(catalogue()))
        assert not answer["allowed"], kind
        assert f"- {kind.plural}\n" in asked
    assert ANNOTATION_DELETE_CHAIN in (templates / "deletion-protection.yaml").read_text()


@pytest.mark.parametrize(
    "asked",
    [
        request("DatabaseInstance", None, instance_obj(), "DELETE"),
        request("Operation", {"spec": {}}),
    ],
)
def test_what_it_does_not_judge_is_allowed(asked: dict[str, Any]) -> None:
    assert review(asked, Known(catalogue()))["allowed"]


def api_server() -> ApiServer:
    server = ApiServer(random.Random(0), lambda: datetime(2026, 1, 1, tzinfo=UTC))
    home = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}}
    server.create(NAMESPACE, home)
    return server


def service(server: ApiServer, name: str, labels: dict[str, str]) -> None:
    metadata = {"name": name, "namespace": HOME, "labels": labels}
    obj = {"apiVersion": "v1", "kind": "Service", "metadata": metadata}
    server.create(SERVICE, {**obj, "spec": {"ports": [{"port": 80}]}})


@pytest.mark.parametrize("suffix", ["", "-rw", "-ro"])
async def test_a_name_whose_service_is_anothers_is_refused(suffix: str) -> None:
    server, asked = api_server(), request("DatabaseInstance", instance_obj())
    assert await taken_service(SimClient(server), asked) is None
    service(server, f"{NAME}{suffix}", {"app": "another"})
    refusal = await taken_service(SimClient(server), asked)
    assert refusal is not None
    assert refusal.message.startswith(f"the Service {NAME}{suffix} exists and is not this")
    edit = request("DatabaseInstance", instance_obj(), instance_obj(), "UPDATE")
    assert await taken_service(SimClient(server), edit) is None, "it has its Services"


async def test_services_of_a_former_instance_are_its_successors() -> None:
    server = api_server()
    service(server, f"{NAME}-rw", {LABEL_MANAGED_BY: MANAGED_BY, LABEL_INSTANCE: NAME})
    asked = request("DatabaseInstance", instance_obj())
    assert await taken_service(SimClient(server), asked) is None


async def test_a_service_that_cannot_be_looked_at_refuses_nothing() -> None:
    server = api_server()
    service(server, NAME, {})
    client = SimClient(server, faults := Faults())
    faults.errors["get", "Service"] = [UnavailableError("away")]
    asked = request("DatabaseInstance", instance_obj())
    assert await taken_service(client, asked) is None


async def test_without_a_catalogue_it_does_not_answer() -> None:
    app = application(lambda: None, SimClient(api_server()))
    http = make_mocked_request("POST", PATH, app=app)
    match = await app.router.resolve(http)
    with pytest.raises(Exception, match="Service Unavailable"):
        await match.handler(http)


async def test_the_authority_is_written_where_it_differs() -> None:
    server = api_server()
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
