"""A client as applications are: a pod that takes its credentials from the binding Secret."""

import json

from coffer_demo.progress import DemoError, Steps
from coffer_demo.target import Object, Target

TIMEOUT_S = 60


def _from_secret(secret: str, variable: str, key: str) -> Object:
    source = {"name": secret, "key": key, "optional": key == "database"}  # Redis has none
    return {"name": variable, "valueFrom": {"secretKeyRef": source}}


def pod(name: str, image: str, secret: str, script: str) -> Object:
    """A pod that runs `script` with HOST, PORT, USERNAME, PASSWORD and DATABASE of a Secret."""
    keys = ("host", "port", "username", "password", "database")
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "client",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["sh", "-euc", script],
                    "env": [_from_secret(secret, key.upper(), key) for key in keys],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


# The password reaches the client by its environment, as it would an application; never by argv.
MARIADB_WRITE = """
MYSQL_PWD="$PASSWORD" mariadb -h "$HOST" -P "$PORT" -u "$USERNAME" "$DATABASE" -e "
CREATE TABLE IF NOT EXISTS greeting (id INT PRIMARY KEY, word VARCHAR(40));
REPLACE INTO greeting VALUES (1, 'kept through a deleted pod');
SELECT * FROM greeting"
"""
MARIADB_READ = """
MYSQL_PWD="$PASSWORD" mariadb -h "$HOST" -P "$PORT" -u "$USERNAME" "$DATABASE" \
  -e "SELECT * FROM greeting"
"""
REDIS_WRITE = """
export REDISCLI_AUTH="$PASSWORD"
redis-cli -h "$HOST" -p "$PORT" --user "$USERNAME" SET greeting 'kept through a deleted pod'
redis-cli -h "$HOST" -p "$PORT" --user "$USERNAME" GET greeting
"""
REDIS_READ = """
REDISCLI_AUTH="$PASSWORD" redis-cli -h "$HOST" -p "$PORT" --user "$USERNAME" GET greeting
"""


def run_client(target: Target, steps: Steps, namespace: str, manifest: Object) -> str:
    """Output of the client; its pod is removed, and DemoError holds what it said on failure."""
    name = manifest["metadata"]["name"]
    where = ("-n", namespace)
    target.kube("delete", "pod", name, *where, "--ignore-not-found", timeout_s=TIMEOUT_S)
    target.kube("apply", *where, "-f", "-", stdin=json.dumps(manifest))

    def ended() -> tuple[str | None, str]:
        found = target.find("pod", name, *where)
        phase = (found or {}).get("status", {}).get("phase", "Pending")
        return (phase if phase in ("Succeeded", "Failed") else None), phase

    phase = steps.wait(f"client {name}", ended, TIMEOUT_S)
    output = target.kube("logs", name, *where)
    target.kube("delete", "pod", name, *where, "--wait=false")
    if phase != "Succeeded":
        raise DemoError(f"the client {name} failed: {output.strip()}")
    return output
