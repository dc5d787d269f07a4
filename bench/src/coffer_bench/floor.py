"""The floor: a plain StatefulSet of the same engine that initialises itself.

The least that Kubernetes itself needs for a database of this image: no operator, one database with
one user, no TLS. Everything that Coffer takes above it is Coffer's own time.
"""

from typing import Any

Object = dict[str, Any]
PASSWORD = "floor"
DATABASE = "bench"

_INITIALISE = """
set -eu
data=/data/db
if [ ! -d "$data" ]; then
  mariadb-install-db --no-defaults --datadir="$data" --auth-root-authentication-method=normal \
    --skip-test-db >/dev/null
fi
"""
_ENGINE = (
    'mariadbd --no-defaults --datadir="$data" --socket=/tmp/s --bind-address=0.0.0.0'
    " --pid-file=/tmp/pid --innodb-buffer-pool-size=128M --init-file=/init/init.sql"
)
#: The container is the engine; or a loop that starts a dead engine again at once.
_ONCE = f"{_INITIALISE}exec {_ENGINE}\n"
_FOR_EVER = f"{_INITIALISE}while :; do {_ENGINE} || :; done\n"


def objects(name: str, image: str, *, loop: bool = False) -> list[Object]:
    """The manifests of one floor instance called `name`; `loop` starts a dead engine again."""
    labels = {"floor": name}
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name},
            "data": {
                "init.sql": f"CREATE USER IF NOT EXISTS app@'%' IDENTIFIED BY '{PASSWORD}';\n"
                f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
                f"GRANT ALL ON {DATABASE}.* TO app@'%';\n"
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"selector": labels, "ports": [{"port": 3306}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {"name": name},
            "spec": {
                "replicas": 1,
                "serviceName": name,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _pod(name, image, loop)},
                "volumeClaimTemplates": [
                    {
                        "metadata": {"name": "data"},
                        "spec": {
                            "accessModes": ["ReadWriteOnce"],
                            "resources": {"requests": {"storage": "1Gi"}},
                        },
                    }
                ],
            },
        },
    ]


def _pod(name: str, image: str, loop: bool) -> Object:
    return {
        "securityContext": {"runAsUser": 999, "runAsGroup": 999, "fsGroup": 999},
        "terminationGracePeriodSeconds": 10,
        "volumes": [{"name": "init", "configMap": {"name": name}}],
        "containers": [
            {
                "name": "database",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["sh", "-c", _FOR_EVER if loop else _ONCE],
                "resources": {
                    "requests": {"memory": "512Mi", "cpu": "25m"},
                    "limits": {"memory": "512Mi", "cpu": "2"},  # as the flavor of the instances
                },
                "readinessProbe": {
                    "exec": {"command": ["mariadb", "--socket=/tmp/s", "-uroot", "-eSELECT 1"]},
                    "periodSeconds": 1,
                },
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "init", "mountPath": "/init"},
                ],
            }
        ],
    }
