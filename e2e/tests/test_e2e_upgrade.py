"""`helm upgrade` from a chart with an older schema: definitions first, databases untouched."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from coffer_common.naming import GROUP
from coffer_demo.target import NAMESPACE, RELEASE, ROOT, Target
from e2e_kube import Space, wait_until
from e2e_manifests import instance

pytestmark = pytest.mark.e2e

CHART = ROOT / "charts" / "coffer"
FIELD = "userHosts"  # of DatastoreVersion, which the older release does not know
CRD = f"datastoreversions.{GROUP}"


def older_chart(folder: Path) -> Path:
    """The chart as it was before the field: without it in definition and catalogue."""
    chart = folder / "coffer"
    shutil.copytree(CHART, chart)
    about = chart / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^version: .*$", "version: 0.0.1", about.read_text()))
    path = chart / "crds" / f"{GROUP}_datastoreversions.yaml"
    definition = yaml.safe_load(path.read_text())
    del spec_fields(definition)[FIELD]
    path.write_text(yaml.safe_dump(definition))
    catalogue = chart / "templates" / "catalogue.yaml"
    text, count = re.subn(rf"(?m)^  {FIELD}:\n(?:    .*\n)+", "", catalogue.read_text())
    assert count == 1
    catalogue.write_text(text)
    return chart


def spec_fields(definition: dict[str, Any]) -> dict[str, Any]:
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields: dict[str, Any] = schema["properties"]["spec"]["properties"]
    return fields


def upgrade(target: Target, chart: Path, *values: str) -> None:
    target.chart(
        "upgrade",
        RELEASE,
        str(chart),
        f"--namespace={NAMESPACE}",
        "--reuse-values",
        "--wait",
        "--timeout=120s",
        *values,
        timeout_s=150,
    )


def knows_field(target: Target) -> bool:
    definition = target.find("crd", CRD)
    assert definition is not None
    return FIELD in spec_fields(definition)


def rules(target: Target) -> object:
    version = target.find("datastoreversion", "mariadb-10.11")
    assert version is not None
    return version["spec"].get(FIELD)


@pytest.fixture
def older(target: Target, space: Space, tmp_path: Path) -> Iterator[None]:
    """The cluster as the older release left it; the present one again in the end."""
    chart = older_chart(tmp_path)
    upgrade(target, chart, "--set=crds.upgrade=false")
    for path in (chart / "crds").iterdir():
        target.kube("replace", "-f", str(path))
    wait_until("the older definition is in place", lambda: not knows_field(target))
    try:
        yield
    finally:
        upgrade(target, CHART, "--set=crds.upgrade=true")


def test_upgrade_from_an_older_schema(target: Target, space: Space, older: None) -> None:
    assert rules(target) is None
    space.apply(instance("db"))
    before = space.wait_ready("db")
    pod = space.pod_uid("db")

    upgrade(target, CHART, "--set=crds.upgrade=true")

    assert knows_field(target)
    assert rules(target) is not None
    jobs = json.loads(target.kube("get", "jobs", "-n", NAMESPACE, "-o", "json"))["items"]
    assert jobs == []  # the hook removed what it made
    after = space.wait_ready("db")
    assert space.pod_uid("db") == pod
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
