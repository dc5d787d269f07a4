"""The demonstration: a MariaDB and a Redis, used through their Services, through a deleted pod."""

import json
from dataclasses import dataclass

import yaml

from coffer_demo import client
from coffer_demo.install import Installed
from coffer_demo.progress import Steps
from coffer_demo.target import ROOT, Object, Target

NAMESPACE = "default"
READY_TIMEOUT_S = 180


@dataclass(frozen=True)
class Example:
    """One engine of the demonstration."""

    manifest: str
    image_target: str
    client: client.Client


EXAMPLES = (
    Example("mariadb.yaml", "guest-mariadb", client.MARIADB),
    Example("redis.yaml", "guest-redis", client.REDIS),
)


def run_demo(target: Target, installed: Installed, steps: Steps) -> None:
    """Apply the examples, use them, delete a pod of each, and read what was written."""
    for example in EXAMPLES:
        obj = _instance_of(example)
        name, user = obj["metadata"]["name"], obj["spec"]["users"][0]["name"]
        image, used = installed.images[example.image_target], example.client
        secret = f"{name}-{user}"
        with steps.step(f"kubectl apply -f examples/{example.manifest} → Ready"):
            path = str(ROOT / "examples" / example.manifest)
            target.kube("apply", "-n", NAMESPACE, "-f", path)
            _wait_ready(target, steps, name)
        with steps.step(f"write and read through {name}-rw as {user}"):
            writer = client.pod(f"{name}-writer", image, secret, used, used.write)
            _show(steps, client.run_client(target, steps, NAMESPACE, writer))
        with steps.step(f"delete pod {name}-0 → serving again"):
            _replace_pod(target, steps, name)
        with steps.step("read again"):
            reader = client.pod(f"{name}-reader", image, secret, used, used.read)
            _show(steps, client.run_client(target, steps, NAMESPACE, reader))
    _show(steps, target.kube("get", "databaseinstances", "-n", NAMESPACE))


def _instance_of(example: Example) -> Object:
    documents = yaml.safe_load_all((ROOT / "examples" / example.manifest).read_text())
    return next(d for d in documents if d["kind"] == "DatabaseInstance")


def _show(steps: Steps, text: str) -> None:
    for line in text.rstrip().splitlines():
        steps.say(line)


def _ready(found: Object | None) -> tuple[Object | None, str]:
    status = (found or {}).get("status", {})
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    ready = conditions.get("Ready", {})
    current = status.get("observedGeneration") == (found or {}).get("metadata", {}).get(
        "generation"
    )
    if found is not None and ready.get("status") == "True" and current:
        return found, ""
    return None, f"{status.get('phase', 'New')}: {ready.get('message', 'not seen yet')}"


def _wait_ready(target: Target, steps: Steps, name: str) -> None:
    steps.wait(
        name,
        lambda: _ready(target.find("databaseinstance", name, "-n", NAMESPACE)),
        READY_TIMEOUT_S,
    )


def _replace_pod(target: Target, steps: Steps, name: str) -> None:
    pod = f"{name}-0"
    old = json.loads(target.kube("get", "pod", pod, "-n", NAMESPACE, "-o", "json"))
    target.kube("delete", "pod", pod, "-n", NAMESPACE, "--wait=false")

    def replaced() -> tuple[bool | None, str]:
        found = target.find("pod", pod, "-n", NAMESPACE)
        if found is None or found["metadata"]["uid"] == old["metadata"]["uid"]:
            return None, "the old pod ends"
        conditions = {c["type"]: c["status"] for c in found["status"].get("conditions", [])}
        return (True if conditions.get("Ready") == "True" else None), "the new pod starts"

    steps.wait(pod, replaced, READY_TIMEOUT_S)
    _wait_ready(target, steps, name)
