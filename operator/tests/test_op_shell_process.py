"""The edges of the process: options, metrics, log lines, packaged CRDs."""

import json
import logging
import random
from datetime import UTC, datetime

import pytest
from prometheus_client import generate_latest

from coffer_common.resources.crd import KINDS
from coffer_operator.kube.api import CRD, INSTANCE
from coffer_operator.main import main
from coffer_operator.plan.errand import Errand
from coffer_operator.plan.model import GroupPlan, Plan
from coffer_operator.shell.app import Options
from coffer_operator.shell.crs import Endless, settings
from coffer_operator.shell.engine import Engine
from coffer_operator.shell.logs import JsonLines
from coffer_operator.shell.metrics import Metrics
from coffer_operator.shell.outside import Outside, Planners
from coffer_operator.shell.reconcile import Outcome
from coffer_operator.shell.upgrade import apply_crds
from op_stage import FakeAgents
from sim_apiserver import ApiServer
from sim_certificates import SimCertificates
from sim_client import SimClient

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_options_come_from_the_environment() -> None:
    found = Options.from_environment(
        {
            "COFFER_NAMESPACE": "dbaas",
            "POD_NAME": "coffer-abc",
            "COFFER_WEBHOOK_SERVICE": "coffer-webhook",
            "COFFER_IMAGE": "coffer/operator:1",
            "COFFER_PULL_SECRETS": "hub,mirror",
            "COFFER_LISTEN_PROBES": "18080",
            "COFFER_WEBHOOK_PORT": "tcp://10.0.0.1:443",  # Kubernetes sets it for the Service
        }
    )
    assert (found.namespace, found.identity) == ("dbaas", "coffer-abc")
    assert found.image == "coffer/operator:1"
    assert found.pull_secrets == ("hub", "mirror")
    assert (found.probe_port, found.metrics_port, found.webhook_port) == (18080, 9090, 9443)


def test_without_a_pod_two_processes_differ() -> None:
    assert Options.from_environment({}).identity != ""


async def test_metrics_show_the_caches() -> None:
    metrics = Metrics()
    api = SimClient(ApiServer(random.Random(0), lambda: NOW))
    outside = Outside(
        api, FakeAgents(), SimCertificates(lambda: NOW, "ca"), lambda: NOW, random.Random(0)
    )
    engine = Engine(
        outside,
        Planners(
            lambda _: Plan(),
            lambda _: GroupPlan(status={}),
            lambda *_: (),
            lambda _: Errand(),
            lambda _: Errand(),
            lambda _: Errand(),
            lambda _: Errand(),
        ),
    )
    metrics.watch(engine)
    metrics.requested("apply", 201, 0.01)
    metrics.looked("DatabaseInstance", Outcome(wrote=True), 0.02)
    spec = {"datastore": {"type": "mariadb"}, "flavor": "tiny", "volume": {"size": "1Gi"}}
    metadata = {"name": "shop", "namespace": "prod", "resourceVersion": "1"}
    obj = {"metadata": metadata, "spec": spec, "status": {"phase": "Active"}}
    engine.feed(INSTANCE, "ADDED", obj)
    text = generate_latest(metrics.registry).decode()
    assert 'coffer_api_requests_total{code="201",verb="apply"} 1.0' in text
    assert 'coffer_reconcile_seconds_count{kind="DatabaseInstance",result="acted"} 1.0' in text
    assert 'coffer_instances{phase="Active"} 1.0' in text
    assert 'coffer_queue_depth{kind="DatabaseInstance"} 1.0' in text
    engine.feed(INSTANCE, "DELETED", {**obj, "metadata": {**metadata, "resourceVersion": "2"}})
    assert "coffer_instances{" not in generate_latest(metrics.registry).decode()


def test_a_json_line_has_everything_in_one_line() -> None:
    record = logging.LogRecord("a.b", logging.WARNING, "f", 1, "two\nlines %s", ("here",), None)
    line = JsonLines().format(record)
    assert "\n" not in line
    found = json.loads(line)
    assert (found["level"], found["logger"]) == ("warning", "a.b")
    assert found["message"] == "two\nlines here"


def test_kopf_writes_nothing_and_never_gives_up() -> None:
    chosen = settings()
    assert not chosen.posting.enabled
    assert chosen.scanning.disabled
    assert chosen.peering.standalone
    waits = Endless()
    for _ in range(2):  # kopf begins it anew for every request
        patience = iter(waits)
        assert [next(patience) for _ in range(9)] == [1, 1, 2, 3, 5, 5, 5, 5, 5]


async def test_the_packaged_crds_are_applied() -> None:
    server = ApiServer(random.Random(0), lambda: NOW)
    await apply_crds(SimClient(server))
    found = {obj["metadata"]["name"] for obj in server.every(CRD)}
    assert len(found) == len(KINDS)
    assert "databaseinstances.coffer.dev" in found


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("coffer-operator ")
