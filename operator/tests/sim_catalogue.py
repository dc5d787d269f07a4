"""What an administrator offers in the simulation."""

from coffer_operator.kube.api import (
    DATASTORE_VERSION,
    FLAVOR,
    STORAGE_CLASS,
    Kind,
    Object,
)


def catalogue() -> list[tuple[Kind, Object]]:
    """What the administrator offers: two datastores, flavors of which one fits nowhere."""

    def ours(kind: Kind, name: str, spec: Object) -> tuple[Kind, Object]:
        return kind, {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {"name": name},
            "spec": spec,
        }

    def names(what: str) -> Object:
        return {"pattern": "^[a-z]+$", "allowed": f"letters, as a {what}", "maxLength": 32}

    mariadb = {
        "datastore": "mariadb",
        "version": "10.11",
        "manager": "mariadb",
        "image": "localhost/coffer-guest-mariadb:1",
        "port": 3306,
        "default": True,
        "minVolumeSize": "1Gi",
        "backupStrategies": {"full": "MariaBackup", "incremental": "MariaBackupIncremental"},
        "databaseNames": names("database"),
        "userNames": names("user"),
        "userHosts": names("host") | {"pattern": "^[%a-z.]+$", "maxLength": 60},
    }
    redis = {
        "datastore": "redis",
        "version": "7.0",
        "manager": "redis",
        "image": "localhost/coffer-guest-redis:1",
        "port": 6379,
        "default": True,
        "minVolumeSize": "256Mi",
        "userNames": names("user"),
    }
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": "simulated",
    }
    return [
        ours(DATASTORE_VERSION, "mariadb-10.11", mariadb),
        ours(DATASTORE_VERSION, "redis-7.0", redis),
        ours(FLAVOR, "tiny", {"vcpus": "0.25", "ram": "512Mi"}),
        ours(FLAVOR, "small", {"vcpus": "1", "ram": "1Gi"}),
        ours(FLAVOR, "giant", {"vcpus": "64", "ram": "512Gi"}),
        (STORAGE_CLASS, storage),
    ]
