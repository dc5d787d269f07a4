"""What the chart renders: by helm itself, for the values that people set."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from coffer_cluster.cluster import Cluster
from coffer_common.naming import LABEL_COMPONENT
from coffer_common.resources.catalogue import DatastoreVersion, Flavor
from coffer_common.resources.crd import KINDS, definition
from coffer_operator.build.identity import OPERATOR_LABELS
from coffer_operator.shell import admission
from coffer_operator.shell.lease import NAME as LEASE_NAME

pytestmark = pytest.mark.e2e

CHART = Path(__file__).parents[2] / "charts" / "coffer"
NAMESPACE = "coffer-system"
Object = dict[str, Any]


@pytest.fixture(scope="module")
def helm() -> Path:
    return Path(Cluster("e2e").helm)


def run(helm: Path, *args: str) -> str:
    done = subprocess.run(
        [str(helm), *args], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def render(helm: Path, *values: str, release: str = "coffer") -> list[Object]:
    """All objects, those of the hooks included."""
    sets = [argument for value in values for argument in ("--set", value)]
    text = run(
        helm,
        "template",
        release,
        str(CHART),
        f"--namespace={NAMESPACE}",
        "--is-upgrade",
        "--kube-version=1.34.0",
        *sets,
    )
    return [obj for obj in yaml.safe_load_all(text) if obj]


@pytest.fixture(scope="module")
def objects(helm: Path) -> list[Object]:
    return render(helm)


def of_kind(objects: list[Object], kind: str) -> list[Object]:
    return [obj for obj in objects if obj["kind"] == kind]


def one(objects: list[Object], kind: str, name: str = "coffer") -> Object:
    found = [obj for obj in of_kind(objects, kind) if obj["metadata"]["name"] == name]
    assert len(found) == 1, (kind, name)
    return found[0]


def test_the_chart_is_sound(helm: Path) -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in run(helm, "lint", "--strict", str(CHART))


@pytest.mark.parametrize(
    ("values", "missing"),
    [
        (["webhook.enabled=false"], {"ValidatingWebhookConfiguration"}),
        (["deletionProtection.enabled=false"], {"ValidatingAdmissionPolicy"}),
        (["catalogue.enabled=false"], {"DatastoreVersion", "Flavor"}),
        (["crds.upgrade=false"], {"Job"}),
    ],
)
def test_what_can_be_switched_off(helm: Path, values: list[str], missing: set[str]) -> None:
    assert not missing & {obj["kind"] for obj in render(helm, *values)}


def test_a_wrong_value_is_refused(helm: Path) -> None:
    with pytest.raises(AssertionError, match="failurePolicy"):
        render(helm, "webhook.failurePolicy=Maybe")


def test_another_release_name_still_fits_together(helm: Path) -> None:
    objects = render(helm, release="databases")
    env = {
        item["name"]: item.get("value")
        for item in one(objects, "Deployment", "databases-coffer")["spec"]["template"]["spec"][
            "containers"
        ][0]["env"]
    }
    one(objects, "Service", str(env["COFFER_WEBHOOK_SERVICE"]))
    one(objects, "ValidatingWebhookConfiguration", str(env["COFFER_WEBHOOK_CONFIGURATION"]))


def test_pods_are_restricted(objects: list[Object]) -> None:
    """As the Pod Security Standard of that name has it."""
    for owner in (*of_kind(objects, "Deployment"), *of_kind(objects, "Job")):
        pod = owner["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] >= 1000
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_the_operator_is_found_by_its_labels(objects: list[Object]) -> None:
    """NetworkPolicies of instances and the webhook's Service select the operator's pods alone."""
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert OPERATOR_LABELS.items() <= labels.items()
    selector = one(objects, "Service", "coffer-webhook")["spec"]["selector"]
    assert selector.items() <= labels.items()
    job = one(objects, "Job", "coffer-upgrade-crds")["spec"]["template"]["metadata"]["labels"]
    assert job[LABEL_COMPONENT] != OPERATOR_LABELS[LABEL_COMPONENT]


def test_the_webhook_is_where_the_operator_serves_it(objects: list[Object]) -> None:
    configuration = one(objects, "ValidatingWebhookConfiguration")
    for webhook in configuration["webhooks"]:
        assert webhook["clientConfig"]["service"]["path"] == admission.PATH
        assert webhook["failurePolicy"] == "Ignore"
        assert webhook["sideEffects"] == "None"
        assert "caBundle" not in webhook["clientConfig"]  # the operator's to write


def test_permissions_have_no_wildcard_and_list_no_secret(objects: list[Object]) -> None:
    for role in (*of_kind(objects, "ClusterRole"), *of_kind(objects, "Role")):
        for rule in role["rules"]:
            words = [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "*" not in words
            assert not {"bind", "escalate", "impersonate"} & set(rule["verbs"])
            if "secrets" in rule["resources"]:
                assert not {"list", "watch", "delete"} & set(rule["verbs"])
            if "persistentvolumeclaims" in rule["resources"]:
                # needed to set an owner reference where those are guarded; no plan deletes one
                assert "deletecollection" not in rule["verbs"]
            if "databaseinstances" in rule["resources"] and role["metadata"]["name"] == "coffer":
                # it makes and removes scratch instances; a spec that is there is never written
                assert not {"patch", "update", "deletecollection"} & set(rule["verbs"])


def test_users_of_a_namespace_may_use_what_they_may_see(objects: list[Object]) -> None:
    view = one(objects, "ClusterRole", "coffer-view")
    edit = one(objects, "ClusterRole", "coffer-edit")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-{}"
    assert all(aggregate.format(to) in view["metadata"]["labels"] for to in ("view", "edit"))
    assert aggregate.format("view") not in edit["metadata"]["labels"]
    assert {verb for rule in view["rules"] for verb in rule["verbs"]} == {"get", "list", "watch"}
    for rule in edit["rules"]:
        assert set(rule["resources"]) == {
            "backups",
            "backupschedules",
            "backupstorages",
            "configurationgroups",
            "databaseinstances",
            "operations",
        }


def test_the_lease_is_the_operators_own(objects: list[Object]) -> None:
    rules = one(objects, "Role")["rules"]
    named = [rule for rule in rules if "resourceNames" in rule]
    assert [rule["resourceNames"] for rule in named] == [[LEASE_NAME]]
    assert [rule["verbs"] for rule in rules if "resourceNames" not in rule] == [["create"]]


def test_the_job_may_touch_our_definitions_only(objects: list[Object]) -> None:
    (rule,) = one(objects, "ClusterRole", "coffer-upgrade-crds")["rules"]
    assert sorted(rule["resourceNames"]) == sorted(kind.crd_name for kind in KINDS)
    for kind in ("ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Job"):
        hook = one(objects, kind, "coffer-upgrade-crds")["metadata"]["annotations"]
        assert hook["helm.sh/hook"] == "pre-upgrade"
        assert "before-hook-creation" in hook["helm.sh/hook-delete-policy"]
    weights = {
        kind: int(
            one(objects, kind, "coffer-upgrade-crds")["metadata"]["annotations"][
                "helm.sh/hook-weight"
            ]
        )
        for kind in ("ClusterRoleBinding", "Job")
    }
    assert weights["ClusterRoleBinding"] < weights["Job"]


def test_the_catalogue_obeys_models_and_definitions(objects: list[Object]) -> None:
    schemas = {
        kind.name: definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
        for kind in KINDS
    }
    versions = of_kind(objects, "DatastoreVersion")
    for obj in (*versions, *of_kind(objects, "Flavor")):
        jsonschema.validate(json.loads(json.dumps(obj)), schemas[obj["kind"]])
    for obj in of_kind(objects, "Flavor"):
        Flavor.model_validate(obj)
    found = {obj["metadata"]["name"]: DatastoreVersion.model_validate(obj) for obj in versions}
    assert set(found) == {"mariadb-10.11", "redis-7.0"}
    for name, version in found.items():
        assert name == f"{version.spec.datastore}-{version.spec.version}"
        assert version.spec.default
        assert version.spec.active


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        (
            "databaseNames",
            ["a", "shop", "my-db_2", "a b", "x#y@z?1"],
            ["", " a", "a ", "a.b", "a`b", "a/b", "a\\b", "a\nb", "ä", "#a"],
        ),
        (
            "userNames",
            ["a", "shop", "josé", "a b", "user@host", "a-b.c"],
            ["", " a", "a ", "a'b", 'a"b', "a;b", "a`b", "a,b", "a/b", "a\\b", "a\nb", "a\0"],
        ),
        (
            "userHosts",
            ["%", "localhost", "10.1.2.3", "10.1.%", "192.168.0.0/255.255.0.0", "::1", "fe80::%"],
            ["", "example.com", "10.0.0.0/8", "a b", "'", "10.1.2.3\n"],
        ),
    ],
)
def test_names_that_mariadb_takes(
    objects: list[Object], rules: str, good: list[str], bad: list[str]
) -> None:
    pattern = one(objects, "DatastoreVersion", "mariadb-10.11")["spec"][rules]["pattern"]
    assert [name for name in good if not re.fullmatch(pattern, name)] == []
    assert [name for name in bad if re.fullmatch(pattern, name)] == []


def test_names_that_redis_takes(objects: list[Object]) -> None:
    spec = one(objects, "DatastoreVersion", "redis-7.0")["spec"]
    pattern = spec["userNames"]["pattern"]
    for good in ("a", "app", "app-1", "me@example.org", "A.b_c"):
        assert re.fullmatch(pattern, good)
    for bad in ("", "a b", "-a", "a:b", "a>b", "~a", "ä", "a\n", "a'"):
        assert not re.fullmatch(pattern, bad), bad
    assert "databaseNames" not in spec
    assert "userHosts" not in spec


def test_a_tag_may_be_a_digest(helm: Path) -> None:
    objects = render(helm, "images.operator.tag=sha256:abc", "images.guest.redis.tag=v9")
    container = one(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    assert container["image"] == "coffer/operator@sha256:abc"
    version = one(objects, "DatastoreVersion", "redis-7.0")
    assert version["spec"]["image"] == "coffer/guest-redis:v9"
