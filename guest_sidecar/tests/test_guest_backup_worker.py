"""The storage worker: its requests, its answers, and where secrets come from."""

import base64
import contextlib
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coffer_common.proof import Proof
from coffer_common.wire import StorageAnswer
from coffer_guest.pipeline import archive, proofs
from coffer_guest.pipeline.archive import Location
from coffer_guest.pipeline.manifest import DataObject, Facts
from coffer_guest.pipeline.stop import Stop
from coffer_guest.pipeline.write import WriteOptions
from coffer_guest.storage_worker import _leave, main
from coffer_guest.strategies.backup.access import opened
from guest_backups import BytesSource, facts, mixed_bytes
from guest_restores import Vault, directory

pytestmark = pytest.mark.guest

PATH = "5f0c/base/b1"


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    """With one backup in it."""
    vault = directory(tmp_path / "vault")
    put(vault)
    return vault


def put(vault: Vault) -> None:
    with opened(vault.access) as access, Stop() as stop:
        source = BytesSource(mixed_bytes(3_000_000))
        location = Location.of(vault.prefix, "5f0c", "b1")
        options = WriteOptions()
        archive.save(source, access.store, location, access.ring, full, options, stop)


def note(vault: Vault, proof: Proof) -> None:
    with opened(vault.access) as access, Stop() as stop:
        proofs.keep(access.store, access.location(PATH), access.ring, proof, stop)


def full(data: DataObject) -> Facts:
    return facts(data).model_copy(update={"full_id": "b1"})


def worker(body: object, *options: str) -> tuple[int, dict[str, Any]]:
    """Exit status and answer; in this process, since interpreters take their time to start."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdin", io.StringIO(json.dumps(body)))
        status = main(options)
    return status, json.loads(output.getvalue())


def request(vault: Vault, operation: str, **others: object) -> dict[str, object]:
    return {"operation": operation, "storage": vault.access.model_dump(mode="json"), **others}


def test_every_operation(vault: Vault) -> None:
    def do(operation: str, **others: object) -> dict[str, object]:
        status, answer = worker(request(vault, operation, **others))
        assert status == 0, answer
        found: dict[str, object] = answer["result"]
        return found

    assert do("probe") == {"keyId": "k1"}
    (found,) = json.loads(json.dumps(do("find")["backups"]))
    assert (found["path"], found["id"], found["plainBytes"]) == (PATH, "b1", 3_000_000)
    assert do("show", path=PATH, digest=found["digest"])["chain"] == [found]
    assert do("scrub", path=PATH)["bytes"] == found["sizeBytes"]
    assert do("rewrap", path=PATH) == {"changed": False, "keyId": "k1"}
    proof = Proof(time="2026-01-01T00:00:00Z", result="Passed", duration_s=41)
    note(vault, proof)
    for shown in (do("find")["backups"], do("show", path=PATH)["chain"]):
        assert json.loads(json.dumps(shown)) == [found | {"verified": proof.model_dump()}]
    (vault.folder(PATH) / "verified.json").write_text("{}")
    assert do("show", path=PATH)["chain"] == [found], "it is not authentic"
    assert do("sweep", older_than_s=0) == {"uploads": [], "folders": []}
    (vault.folder(PATH) / "manifest.json").unlink()
    assert do("sweep")["folders"] == [], "it is too new"
    assert do("sweep", older_than_s=0, running=["b1"])["folders"] == []
    assert do("sweep", older_than_s=0)["folders"] == [f"{vault.prefix}/{PATH}"]
    put(vault)
    assert do("delete", path=PATH) == {"path": PATH}
    assert do("delete", path=PATH) == {"path": PATH}, "it may be repeated"
    assert not [path for path in vault.root.rglob("*") if path.is_file()]


def test_failures_are_answers(vault: Vault) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        (request(vault, "show", path="5f0c/base/b2"), "BackupMissing"),
        (request(vault, "show", path="nonsense"), "LocationInvalid"),
        (request(vault, "nonsense"), "InvalidRequest"),
        ({"operation": "probe"}, "InvalidRequest"),
        (request(vault, "show", path=PATH, digest="0" * 64), "BackupReplayed"),
    ]
    for body, reason in cases:
        status, answer = worker(body)
        assert (status, answer["reason"], answer["permanent"]) == (1, reason, True), answer
        assert answer["result"] is None
        assert not any(secret in json.dumps(answer).encode() for secret in vault.secrets())
    data = vault.folder(PATH) / "data"
    whole = bytearray(data.read_bytes())
    whole[len(whole) // 2] ^= 1
    data.write_bytes(whole)
    status, answer = worker(request(vault, "scrub", path=PATH))
    assert (status, answer["reason"]) == (1, "BackupDamaged")


def test_secrets_come_from_mounted_folders(vault: Vault, tmp_path: Path) -> None:
    keys, credentials = tmp_path / "keys", tmp_path / "credentials"
    for folder in (keys, credentials):
        (folder / "..data").mkdir(parents=True)  # as kubelet leaves it
    (keys / "current").write_text("k2\n")
    (keys / "k2").write_text(base64.b64encode(b"2" * 32).decode() + "\n")
    (keys / "k1").write_text(vault.keys["k1"])
    storage = vault.access.model_dump(mode="json", include={"strategy", "settings", "prefix"})
    file = tmp_path / "request.json"
    file.write_text(json.dumps({"operation": "rewrap", "storage": storage, "path": PATH}))
    options = ("--request", str(file), "--keys", str(keys))
    assert worker({}, *options)[1]["result"] == {"changed": True, "keyId": "k2"}
    (credentials / "accessKeyId").write_text("it-does-not-take-one")
    status, answer = worker({}, *options, "--credentials", str(credentials))
    assert (status, answer["reason"]) == (1, "StorageInvalid")
    assert "access_key" in answer["message"]
    (keys / "current").unlink()
    assert worker({}, *options)[1]["reason"] == "KeyInvalid"


def test_a_termination_message_fits(tmp_path: Path) -> None:
    path = tmp_path / "log"
    _leave(path, StorageAnswer(message="x"))
    assert not path.exists(), "no kubelet asked for it"
    path.touch()
    short = StorageAnswer(result={"a": 1})
    _leave(path, short)
    assert StorageAnswer.model_validate_json(path.read_text()) == short
    for long in (
        StorageAnswer(result={"a": "é" * 4000}),
        StorageAnswer(message="é" * 9000, reason="R"),
    ):
        _leave(path, long)
        assert path.stat().st_size <= 4096
        left = StorageAnswer.model_validate_json(path.read_text())
        assert (left.result is None, left.reason) == (long.result is None, long.reason)


def test_as_a_process(vault: Vault) -> None:
    body = json.dumps(request(vault, "probe"))
    for text, status, reason in ((body, 0, ""), ("", 1, "InvalidRequest")):
        done = subprocess.run(
            [sys.executable, "-m", "coffer_guest.storage_worker"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == status
        assert json.loads(done.stdout)["reason"] == reason
