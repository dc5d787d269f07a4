"""backup import: the list of a bucket is asked for, and Backups are made of what has none."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from cli_fake_api import FakeApi
from cli_objects import BACKUPS, CONFIG_MAPS, STORAGES, Object, Run, backup, condition, storage
from cli_objects import taken as completed
from coffer_common.resources.backup import BackupSpec

STORE = f"{STORAGES}/store"
Answer = Callable[..., None]


def entry(number: int, **more: Any) -> Object:
    return {
        "path": f"u-1/base/b-{number}",
        "type": "full",
        "instance": "orders",
        "instanceUid": "u-1",
        "datastore": "mariadb",
        "engineVersion": "10.11.6",
        "finishedAt": f"2026-01-0{number}T00:00:16.123Z",
        "sizeBytes": 5 * 1024**2,
        "parent": None,
        **more,
    }


FOUND = [
    entry(3, type="incremental", parent="u-1/base/b-2"),
    entry(2, verified={"result": "Passed", "time": "2026-01-03T00:00:00Z"}),
    entry(1, instance="billing", instanceUid="u-2"),
]


@pytest.fixture
def answer(api: FakeApi) -> Answer:
    """The operator's answer to the next request for a list."""
    api.put(STORE, storage())

    def give(found: list[Object], error: str | None = None, truncated: str = "false") -> None:
        def act() -> None:
            made = api.objects[STORE]
            nonce = made["metadata"]["annotations"]["coffer.dev/list-requested"]
            data = {"listing.json": json.dumps(found), "nonce": nonce, "truncated": truncated}
            if error is None:
                made_of = {"metadata": {"name": "store-listing"}, "data": data}
                api.put(f"{CONFIG_MAPS}/store-listing", made_of)
            listing = {"request": nonce, "error": error}
            api.patch_status(STORE, made["status"] | {"listing": listing})

        api.script(STORE, act)

    return give


def adopt(api: FakeApi, name: str, status: Object | None = None) -> None:
    path = f"{BACKUPS}/{name}"
    api.script(path, lambda: api.patch_status(path, status or completed()))


NAMES = [
    "orders-incr-20260103-000016",
    "orders-full-20260102-000016",
    "billing-full-20260101-000016",
]


def test_all_that_has_no_backup_is_imported(run: Run, api: FakeApi, answer: Answer) -> None:
    answer(FOUND)
    for name in NAMES:
        adopt(api, name)
    done = run("backup", "import", "store")
    assert done.exit_code == 0, done.stderr
    made = [body for body in api.bodies if body.get("kind") == "Backup"]
    assert [body["metadata"]["name"] for body in made] == NAMES
    for body, found in zip(made, FOUND, strict=True):
        BackupSpec.model_validate(body["spec"])
        assert body["spec"] == {
            "path": found["path"],
            "storageRef": {"name": "store"},
            "deletionPolicy": "Retain",
        }
    assert done.stdout.splitlines()[-1] == "3 imported"


def test_what_is_known_is_not_imported_again(run: Run, api: FakeApi, answer: Answer) -> None:
    answer(FOUND)
    api.put(f"{BACKUPS}/sunday", backup("sunday", completed("u-1/base/b-2")))
    api.put(f"{BACKUPS}/{NAMES[0]}", backup(NAMES[0], path="u-1/base/b-3"))
    other = backup("other", completed("u-2/base/b-1"), storageRef={"name": "elsewhere"})
    api.put(f"{BACKUPS}/other", other)
    run("backup", "import", "store", "--no-wait")
    made = [body["metadata"]["name"] for body in api.bodies if body.get("kind") == "Backup"]
    assert made == NAMES[2:]
    answer(FOUND[:2])
    done = run("backup", "import", "store")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "nothing to import" in done.stderr


def test_a_name_that_is_taken_is_not_used(run: Run, api: FakeApi, answer: Answer) -> None:
    answer(FOUND[1:2])
    api.put(f"{BACKUPS}/{NAMES[1]}", backup(NAMES[1]))
    done = run("backup", "import", "store", "--no-wait")
    assert f"backup.coffer.dev/{NAMES[1]}-2 created for u-1/base/b-2" in done.stdout


def test_one_path_comes_with_what_it_needs(run: Run, api: FakeApi, answer: Answer) -> None:
    answer(FOUND)
    run("backup", "import", "store", "u-1/base/b-3", "--no-wait", "--deletion-policy", "Delete")
    made = [body for body in api.bodies if body.get("kind") == "Backup"]
    assert [body["metadata"]["name"] for body in made] == NAMES[:2]
    assert {body["spec"]["deletionPolicy"] for body in made} == {"Delete"}


def test_only_one_instance(run: Run, api: FakeApi, answer: Answer) -> None:
    answer(FOUND)
    run("backup", "import", "store", "--instance-uid", "u-2", "--no-wait")
    made = [body["metadata"]["name"] for body in api.bodies if body.get("kind") == "Backup"]
    assert made == NAMES[2:]


def test_a_path_that_is_not_there(run: Run, answer: Answer) -> None:
    answer(FOUND)
    done = run("backup", "import", "store", "u-9/base/b-9")
    assert done.exit_code == 3
    assert done.stderr.endswith("error: there is no backup at u-9/base/b-9\n")


def test_the_list_alone(run: Run, api: FakeApi, answer: Answer) -> None:
    api.put(f"{BACKUPS}/sunday", backup("sunday", completed("u-1/base/b-2")))
    answer(FOUND, truncated="true")
    done = run("backup", "import", "store", "--list")
    lines = done.stdout.splitlines()
    assert lines[0].split()[-4:] == ["SIZE", "FINISHED", "VERIFIED", "BACKUP"]
    assert lines[2].split()[0] == "u-1/base/b-2"
    assert lines[2].split()[-2:] == ["Passed", "sunday"]
    assert lines[1].endswith("<none>")
    assert "the oldest are missing" in done.stderr
    assert not [body for body in api.bodies if body.get("kind") == "Backup"]
    answer(FOUND)
    shown = json.loads(run("backup", "import", "store", "--list", "-o", "json").stdout)
    assert [item["backup"] for item in shown["items"]] == [None, "sunday", None]


def test_a_damaged_one_holds_back_no_other(run: Run, api: FakeApi, answer: Answer) -> None:
    answer(FOUND)
    adopt(api, NAMES[0], {"phase": "Failed", "message": "its manifest was altered"})
    for name in NAMES[1:]:
        adopt(api, name)
    done = run("backup", "import", "store")
    assert done.exit_code == 1
    assert f"{NAMES[0]}: Failed: its manifest was altered" in done.stderr
    assert f"{NAMES[2]}: Completed" in done.stderr


def test_why_there_is_no_list(run: Run, api: FakeApi, answer: Answer) -> None:
    answer([], error="403 of the server")
    done = run("backup", "import", "store")
    assert done.exit_code == 1
    assert done.stderr.endswith("backupstorage.coffer.dev/store: Failed: 403 of the server\n")
    stalled = [condition("Ready", "False", "no Secret x"), condition("Stalled", "True", "no x")]
    api.put(STORE, storage() | {"status": {"conditions": stalled}})
    done = run("backup", "import", "store")
    assert (done.exit_code, "Stalled: no x" in done.stderr) == (1, True)
    assert run("backup", "import", "nowhere").exit_code == 3


def test_the_answer_to_a_later_request_will_do(run: Run, api: FakeApi, answer: Answer) -> None:
    answer([])

    def another() -> None:
        mark = {"coffer.dev/list-requested": "theirs"}
        made = api.objects[STORE]
        metadata = made["metadata"] | {"annotations": mark}
        data = {"listing.json": json.dumps(FOUND), "nonce": "theirs"}
        api.put(f"{CONFIG_MAPS}/store-listing", {"metadata": {}, "data": data})
        listing = {"listing": {"request": "theirs"}}
        api.put(STORE, made | {"metadata": metadata, "status": made["status"] | listing})

    api.script(STORE, another)
    done = run("backup", "import", "store", "--list")
    assert len(done.stdout.splitlines()) == 4
