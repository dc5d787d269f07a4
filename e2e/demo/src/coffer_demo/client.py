"""A client as applications are: a pod that takes its credentials from the binding Secret."""

import json
from dataclasses import dataclass

from coffer_demo.progress import DemoError, Steps
from coffer_demo.target import Object, Target

TIMEOUT_S = 60


# Nodes route a Service's new endpoint up to a second after it is known: a client tries again until
# it is answered.
_UNTIL_ANSWERED = """
left=25
until said=$(client $hello 2>&1); do
  left=$((left - 1)); [ "$left" -gt 0 ] || { echo "$said"; exit 1; }
  sleep 0.1
done
"""


@dataclass(frozen=True)
class Client:
    """An engine's client in shell: the function `client` with `hello` to it, and what it does.

    The password reaches it by the environment, as it would an application; never by argv.
    """

    program: str
    write: str
    read: str


MARIADB = Client(
    """
export MYSQL_PWD="$PASSWORD"
client() { mariadb -h "$HOST" -P "$PORT" -u "$USERNAME" --connect-timeout=2 "$@" "$DATABASE"; }
hello='-e DO(0)'
""",
    """
client -e "
CREATE TABLE IF NOT EXISTS greeting (id INT PRIMARY KEY, word VARCHAR(40));
REPLACE INTO greeting VALUES (1, 'kept through a deleted pod');
SELECT * FROM greeting"
""",
    """
client -e "SELECT * FROM greeting"
""",
)
REDIS = Client(
    """
export REDISCLI_AUTH="$PASSWORD"
client() { timeout 2 redis-cli -h "$HOST" -p "$PORT" --user "$USERNAME" "$@"; }
hello=PING
""",
    """
client SET greeting 'kept through a deleted pod'
client GET greeting
""",
    """
client GET greeting
""",
)


def _from_secret(secret: str, variable: str, key: str) -> Object:
    source = {"name": secret, "key": key, "optional": key == "database"}  # Redis has none
    return {"name": variable, "valueFrom": {"secretKeyRef": source}}


def pod(name: str, image: str, secret: str, client: Client, script: str) -> Object:
    """A pod that runs `script` with HOST, PORT, USERNAME, PASSWORD and DATABASE of a Secret."""
    whole = client.program + _UNTIL_ANSWERED + script
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
                    "command": ["sh", "-euc", whole],
                    "env": [_from_secret(secret, key.upper(), key) for key in keys],
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                }
            ],
        },
    }


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
