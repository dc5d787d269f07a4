"""Backups in the end-to-end tests: a bucket of the cluster's S3 server, manifests, waits, sums.

Looks into buckets by S3 from the machine, past everything of Coffer's.
"""

import base64
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families

from coffer_cluster.cluster import Cluster
from e2e_kube import (
    OPERATOR_NAMESPACE,
    Object,
    Space,
    condition,
    operator_pod,
    query,
    wait_until,
)
from e2e_manifests import API_VERSION, instance

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

CREDENTIALS = "s3-credentials"
KEY = "backup-key"
CA = "s3-ca"
OWN_DATABASES = ("shop", "odd-name")
_ENDED = ("Completed", "Failed")


def _client(cluster: Cluster) -> "S3Client":
    access = cluster.s3
    return boto3.client(
        "s3",
        endpoint_url=access.endpoint,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        region_name=access.region,
        config=Config(s3={"addressing_style": "path"}),
    )


@dataclass(frozen=True)
class Bucket:
    """A bucket of the cluster's S3 server."""

    cluster: Cluster
    name: str = field(default_factory=lambda: f"b-{secrets.token_hex(4)}")

    @property
    def client(self) -> "S3Client":
        return _client(self.cluster)

    def create(self) -> "Bucket":
        self.client.create_bucket(Bucket=self.name)
        return self

    def keys(self, prefix: str = "") -> list[str]:
        found = self.client.list_objects_v2(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for one in found.get("Contents", [])]

    def uploads(self, prefix: str = "") -> list[str]:
        """Keys of multipart uploads that are not ended."""
        found = self.client.list_multipart_uploads(Bucket=self.name, Prefix=prefix)
        return [one["Key"] for one in found.get("Uploads", [])]

    def begin_upload(self, key: str) -> None:
        """As a backup does that then dies."""
        self.client.create_multipart_upload(Bucket=self.name, Key=key)

    def flip_a_bit(self, key: str) -> None:
        """In the middle of an object; its size stays."""
        client = self.client
        content = bytearray(client.get_object(Bucket=self.name, Key=key)["Body"].read())
        content[len(content) // 2] ^= 1
        client.put_object(Bucket=self.name, Key=key, Body=bytes(content))

    def remove(self) -> None:
        """With all that is in it."""
        client = self.client
        for key in self.keys():
            client.delete_object(Bucket=self.name, Key=key)
        client.delete_bucket(Bucket=self.name)


# --- manifests ------------------------------------------------------------------------------------
def secret(name: str, **entries: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "stringData": entries,
    }


def key_secret(name: str = KEY) -> Object:
    """A new key, under the same id each time."""
    return secret(name, current="k1", k1=base64.b64encode(secrets.token_bytes(32)).decode())


def storage(name: str, bucket: Bucket, key: str = KEY, **upload: Any) -> Object:
    """A BackupStorage by TLS, with the test server's authority."""
    return {
        "apiVersion": API_VERSION,
        "kind": "BackupStorage",
        "metadata": {"name": name},
        "spec": {
            "s3": {
                "endpoint": bucket.cluster.s3.service_tls_endpoint,
                "bucket": bucket.name,
                "prefix": "some/prefix",
                "credentialsSecretRef": {"name": CREDENTIALS},
                "caSecretRef": {"name": CA},
            },
            "encryption": {"keySecretRef": {"name": key}},
            "upload": upload,
        },
    }


def storage_secrets(cluster: Cluster) -> list[Object]:
    access = cluster.s3
    return [
        secret(CREDENTIALS, accessKeyId=access.access_key, secretAccessKey=access.secret_key),
        secret(CA, **{"ca.crt": access.ca_file.read_text()}),
        key_secret(),
    ]


def backup(name: str, target: str, store: str = "store", **spec: Any) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "Backup",
        "metadata": {"name": name},
        "spec": {"instanceRef": {"name": target}, "storageRef": {"name": store}, **spec},
    }


def shop(name: str, **spec: Any) -> Object:
    """A MariaDB with two databases."""
    names = list(OWN_DATABASES)
    databases = [{"name": one} for one in names]
    users = [{"name": "app", "databases": names}]
    return instance(name, databases=databases, users=users, **spec)


def from_backup(name: str) -> Object:
    return {"backupRef": {"name": name}}


def from_location(store: str, path: str) -> Object:
    return {"location": {"storageRef": {"name": store}, "path": path}}


# --- waits ----------------------------------------------------------------------------------------
def wait_storage(space: Space, name: str, timeout_s: float = 60) -> Object:
    """The storage, once it is Ready."""

    def ready() -> Object | None:
        found = space.get("backupstorage", name)
        return found if condition(found, "Ready").get("status") == "True" else None

    return wait_until(f"storage {name} Ready", ready, timeout_s)


def wait_refused(space: Space, name: str, reason: str) -> str:
    """What a storage says, once it is not Ready for that reason."""

    def refused() -> str:
        found = condition(space.get("backupstorage", name), "Ready")
        return str(found["message"]) if found.get("reason") == reason else ""

    return wait_until(f"storage {name} not Ready by {reason}", refused)


def status(space: Space, name: str) -> Object:
    """Of a Backup; {} where there is none yet."""
    found: Object = (space.get("backup", name) or {}).get("status", {})
    return found


def wait_ended(space: Space, name: str, timeout_s: float = 90) -> Object:
    """The status of a Backup that is Completed or Failed."""

    def ended() -> Object | None:
        found = status(space, name)
        return found if found.get("phase") in _ENDED else None

    return wait_until(f"backup {name} ended", ended, timeout_s)


def wait_completed(space: Space, name: str, timeout_s: float = 90) -> Object:
    """Its status; fails at once where the Backup fails."""
    found = wait_ended(space, name, timeout_s)
    assert found["phase"] == "Completed", found
    return found


def wait_under_way(space: Space, name: str, bucket: Bucket, timeout_s: float = 60) -> None:
    """It has read something and not yet sent all."""

    def moves() -> bool:
        found = status(space, name)
        assert found.get("phase") not in _ENDED, found
        done = found.get("progress", {}).get("bytesDone", 0)
        return bool(done) and bool(bucket.uploads(f"some/prefix/{found['path']}/"))

    wait_until(f"backup {name} under way", moves, timeout_s)


def wait_gone(space: Space, kind: str, names: Iterable[str], timeout_s: float = 60) -> None:
    for name in names:
        wait_until(f"no {kind} {name}", lambda n=name: space.get(kind, n) is None, timeout_s)  # type: ignore[misc]


def instance_phase(space: Space, name: str) -> str:
    return str((space.instance(name) or {}).get("status", {}).get("phase"))


def backup_metrics(space: Space, instance: str) -> dict[str, float]:
    """What the operator's metrics say of the backups of an instance: values by short names."""
    pod = operator_pod(space.kube)["metadata"]["name"]
    path = f"/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods/{pod}:9090/proxy/metrics"
    labels = {"namespace": space.name, "instance": instance}
    text: Any = space.kube.api.get(path)
    return {
        sample.name.removeprefix("coffer_backup_"): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name.startswith("coffer_backup_") and sample.labels == labels
    }


# --- data -----------------------------------------------------------------------------------------
def fill(space: Space, name: str) -> None:
    """Tables of two engines in two databases."""
    with space.mysql(name, "app") as connection:
        for statement in (
            "CREATE TABLE shop.items (id INT PRIMARY KEY AUTO_INCREMENT, pad VARBINARY(2000))",
            "INSERT INTO shop.items (pad) SELECT RANDOM_BYTES(900) FROM shop.seq_1_to_2000",
            "CREATE TABLE `odd-name`.notes (id INT PRIMARY KEY, body TEXT) ENGINE=Aria",
            "INSERT INTO `odd-name`.notes SELECT seq, MD5(seq) FROM shop.seq_1_to_500",
        ):
            query(connection, statement)


def fill_with_noise(space: Space, name: str, megabytes: int) -> None:
    """Rows that nothing compresses."""
    rows = megabytes * 1000
    with space.mysql(name, "app") as connection:
        query(connection, "CREATE TABLE shop.noise (id INT PRIMARY KEY, pad VARBINARY(1000))")
        query(
            connection,
            f"INSERT INTO shop.noise SELECT seq, RANDOM_BYTES(1000) FROM shop.seq_1_to_{rows}",
        )
        assert query(connection, "SELECT MIN(LENGTH(pad)) FROM shop.noise") == [(1000,)]


def checksums(space: Space, name: str) -> dict[str, object]:
    """CHECKSUM TABLE of each table that the application sees."""
    with space.mysql(name, "app") as connection:
        tables = query(
            connection,
            "SELECT table_schema, table_name FROM information_schema.tables"
            " WHERE table_type = 'BASE TABLE' AND table_schema <> 'information_schema'",
        )
        assert tables
        return {
            f"{schema}.{table}": query(connection, f"CHECKSUM TABLE `{schema}`.`{table}` EXTENDED")[
                0
            ][1]
            for schema, table in tables
        }


# --- what most of the tests begin with ------------------------------------------------------------
@dataclass(frozen=True)
class Scene:
    """A namespace with a storage, and a MariaDB that holds something."""

    space: Space
    bucket: Bucket


def set_scene(space: Space, cluster: Cluster) -> Scene:
    """Storage `store`, and instance `db`, filled and Ready."""
    bucket = Bucket(cluster).create()
    space.apply(*storage_secrets(cluster), storage("store", bucket), shop("db"))
    space.wait_ready("db", timeout_s=120)
    fill(space, "db")
    wait_storage(space, "store")
    return Scene(space, bucket)
