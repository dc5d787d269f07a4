"""The objects of an instance: their shape, and that they read back as they were written."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common import naming
from coffer_common.wire import GuestConfig
from coffer_operator.build.identity import needed_names
from coffer_operator.build.pod import pod_template, template_hash
from coffer_operator.plan.instance import plan_instance
from coffer_operator.plan.known import settle
from coffer_operator.plan.target import aim
from op_plan_worlds import UID, instance, world

Json = dict[str, Any]


def objects(**spec: Any) -> dict[tuple[str, str], Json]:
    plan = plan_instance(world(instance(**spec)))
    return {(a.obj["kind"], a.obj["metadata"]["name"]): dict(a.obj) for a in plan.apply}


def template(**spec: Any) -> Json:
    found: Json = objects(**spec)["StatefulSet", "shop"]["spec"]["template"]
    return found


def container(kind: str, **spec: Any) -> Json:
    found: Json = template(**spec)["spec"][kind][0]
    return found


def walk(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    yield path, value
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from walk(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from walk(inner, f"{path}[]")


FULL: Json = {
    "scheduling": {
        "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "db", "operator": "Exists", "effect": "NoSchedule"}],
    },
    "deletionPolicy": "Delete",
    "volume": {"size": "2048Mi", "storageClassName": "slow"},
}


@pytest.mark.parametrize("spec", [{}, FULL], ids=["plain", "full"])
def test_nothing_empty_is_written(spec: Json) -> None:
    allowed = {".spec.template.spec.volumes[].emptyDir"}  # its whole meaning is being there
    for (kind, _), obj in objects(**spec).items():
        for path, value in walk(obj):
            assert value is not None, (kind, path)
            assert value not in ({}, [], "") or path in allowed, (kind, path)


def test_every_object_is_named_labelled_and_owned() -> None:
    found = objects()
    for (kind, name), obj in found.items():
        labels = obj["metadata"]["labels"]
        assert labels[naming.LABEL_MANAGED_BY] == "coffer"
        assert labels[naming.LABEL_INSTANCE] == "shop"
        assert labels[naming.LABEL_GROUP] == "shop"
        assert obj["metadata"]["namespace"] == "prod"
        if kind == "PersistentVolumeClaim":
            assert "ownerReferences" not in obj["metadata"], name
            continue
        (owner,) = obj["metadata"]["ownerReferences"]
        assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (
            UID,
            True,
            False,
        )


def test_the_names_that_are_looked_for_are_those_that_are_made() -> None:
    subject = world()
    blueprint = aim(subject, settle(subject), None).blueprint
    assert blueprint is not None
    made = {key for key in objects() if key[0] != "PersistentVolumeClaim"}
    assert set(needed_names(blueprint.identity)) == made


def test_the_volume_is_made_as_asked_and_owned_only_where_it_may_go() -> None:
    claim = objects(**FULL)["PersistentVolumeClaim", "shop-data"]
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "2Gi"}},
        "storageClassName": "slow",
    }
    assert claim["metadata"]["ownerReferences"][0]["uid"] == UID
    assert claim["metadata"]["annotations"] == {
        naming.ANNOTATION_GROUP: "shop",
        naming.ANNOTATION_ROLE: "standalone",
        naming.ANNOTATION_RESOLVED: "mariadb-10.11",
    }
    assert "storageClassName" not in objects()["PersistentVolumeClaim", "shop-data"]["spec"]


def test_the_slice_leaves_to_the_agent_what_is_the_agents() -> None:
    found = objects()["EndpointSlice", "shop-rw"]
    assert set(found) == {"apiVersion", "kind", "metadata", "addressType"}
    assert "annotations" not in found["metadata"]
    labels = found["metadata"]["labels"]
    assert labels["kubernetes.io/service-name"] == "shop-rw"
    assert labels["endpointslice.kubernetes.io/managed-by"] == "coffer.dev"


def test_the_services_lead_where_they_should() -> None:
    found = objects()
    one, write, read = (found["Service", name]["spec"] for name in ("shop", "shop-rw", "shop-ro"))
    assert one["publishNotReadyAddresses"] is True
    assert one["selector"] == {naming.LABEL_INSTANCE: "shop"}
    assert "selector" not in write
    labels = template()["metadata"]["labels"]
    assert read["selector"].items() <= labels.items(), "the pod serves -ro itself"
    assert "publishNotReadyAddresses" not in read, "readiness keeps a sick pod out"
    for spec in (one, write, read):
        assert spec["ports"] == [{"port": 3306, "protocol": "TCP", "targetPort": 3306}]


def test_the_agent_may_touch_its_own_slice_and_nothing_else() -> None:
    found = objects()
    (rule,) = found["Role", "shop-agent"]["rules"]
    assert rule == {
        "apiGroups": ["discovery.k8s.io"],
        "resources": ["endpointslices"],
        "resourceNames": ["shop-rw"],
        "verbs": ["get", "patch"],
    }
    binding = found["RoleBinding", "shop-agent"]
    assert binding["roleRef"]["name"] == "shop-agent"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "shop-agent", "namespace": "prod"}
    ]


def test_the_network_policy_keeps_the_agents_port_to_operator_and_group() -> None:
    spec = objects()["NetworkPolicy", "shop"]["spec"]
    by_port = {rule["ports"][0]["port"]: rule.get("from") for rule in spec["ingress"]}
    assert by_port[3306] is None
    assert by_port[naming.PROBE_PORT] is None
    operator, group = by_port[naming.AGENT_PORT]
    assert operator["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "coffer-system"
    }
    assert operator["podSelector"]["matchLabels"][naming.LABEL_COMPONENT] == "operator"
    assert group == {"podSelector": {"matchLabels": {naming.LABEL_GROUP: "shop"}}}


def test_the_pod_is_restricted() -> None:
    spec = template()["spec"]
    assert spec["automountServiceAccountToken"] is False
    context = spec["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["fsGroup"] == context["runAsUser"] == naming.RUN_AS_UID
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    for one in (spec["initContainers"][0], spec["containers"][0]):
        assert tuple(one["command"][:2]) == naming.INIT
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def test_token_and_certificate_are_the_agents_alone() -> None:
    guest = {mount["name"] for mount in container("initContainers")["volumeMounts"]}
    database = {mount["name"] for mount in container("containers")["volumeMounts"]}
    assert guest - database == {"instance", "tls", "token"}
    assert database == {"data", "run", "tmp"}
    volumes = {volume["name"]: volume for volume in template()["spec"]["volumes"]}
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == "shop-data"
    assert volumes["tls"]["secret"]["secretName"] == "shop-agent-tls"


def test_only_the_agent_is_asked_whether_it_lives() -> None:
    guest, database = container("initContainers"), container("containers")
    assert guest["restartPolicy"] == "Always", "a native sidecar"
    assert guest["livenessProbe"]["timeoutSeconds"] == 5
    assert "readinessProbe" not in guest
    assert "livenessProbe" not in database
    assert "startupProbe" not in database
    assert database["readinessProbe"]["periodSeconds"] == 1


def test_the_flavor_sizes_the_database() -> None:
    assert container("containers", flavor="tiny")["resources"] == {
        "requests": {"cpu": "25m", "memory": "512Mi"},
        "limits": {"cpu": "250m", "memory": "512Mi"},
    }
    assert container("containers", flavor="small")["resources"] == {
        "requests": {"cpu": "100m", "memory": "1Gi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }


def test_the_stateful_set_never_replaces_a_pod_or_makes_a_volume() -> None:
    spec = objects()["StatefulSet", "shop"]["spec"]
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert spec["replicas"] == 1
    assert "volumeClaimTemplates" not in spec
    assert spec["selector"]["matchLabels"].items() <= spec["template"]["metadata"]["labels"].items()


def test_the_configuration_is_what_the_agent_reads() -> None:
    text = objects()["ConfigMap", "shop-agent"]["data"]["instance.json"]
    config = GuestConfig.model_validate_json(text)
    assert (config.instance, config.group, config.uid) == ("shop", "shop", UID)
    assert config.flavor.ram_bytes == 512 * 1024**2
    assert config.flavor.vcpus == 0.25
    assert config.volume_size_bytes == 1024**3
    assert config.data_id is None
    assert config.read_write_slice == "shop-rw"


def test_the_hash_follows_what_needs_a_restart_and_not_the_data_id() -> None:
    subject = world()
    known = settle(subject)
    one = aim(subject, known, None).blueprint
    two = aim(subject, known, "data-1").blueprint
    assert one is not None
    assert two is not None
    assert template_hash(pod_template(one)) == template_hash(pod_template(two))
    hashes = {
        template(**spec)["metadata"]["annotations"][naming.ANNOTATION_TEMPLATE_HASH]
        for spec in ({}, {"flavor": "small"}, {"scheduling": {"nodeSelector": {"a": "b"}}})
    }
    assert len(hashes) == 3


NAMES = st.from_regex(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True).filter(
    naming.is_instance_name
)
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@given(NAMES)
def test_every_name_is_one_that_kubernetes_takes(name: str) -> None:
    plan = plan_instance(world(instance(name)))
    assert plan.apply
    for item in plan.apply:
        assert _DNS_LABEL.fullmatch(item.obj["metadata"]["name"])
        for value in item.obj["metadata"]["labels"].values():
            assert len(value) <= 63
        json.dumps(item.obj)


def test_guest_images_are_pulled_with_the_secrets_of_the_deployment() -> None:
    """They are the account's: the template of a running instance does not change by them."""
    plain = objects()
    plan = plan_instance(world(instance(), pull_secrets=("hub", "mirror")))
    found = {(a.obj["kind"], a.obj["metadata"]["name"]): dict(a.obj) for a in plan.apply}
    changed = {key for key in found if found[key] != plain[key]}
    (account,) = changed
    assert account[0] == "ServiceAccount"
    assert found[account]["imagePullSecrets"] == [{"name": "hub"}, {"name": "mirror"}]
