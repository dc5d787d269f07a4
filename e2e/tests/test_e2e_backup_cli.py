"""kubectl coffer backup as people use it: from create --follow to delete --cascade."""

import json

import pytest

from coffer_cluster.cluster import Cluster
from coffer_operator.plan.clock import from_text
from e2e_backup import (
    Scene,
    backup_metrics,
    checksums,
    instance_phase,
    set_scene,
    status,
)
from e2e_coffer import FAILED, NOT_FOUND, REFUSED, USAGE, coffer, refusal
from e2e_kube import Refused, Space, condition, query, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

PREFIX = "some/prefix"
NEVER = "0 0 29 2 *"


@pytest.fixture(scope="module")
def scene(shared_space: Space, cluster: Cluster) -> Scene:
    return set_scene(shared_space, cluster)


@pytest.fixture(scope="module")
def followed(scene: Scene) -> tuple[str, str]:
    """What was said while the Backup `sunday` was taken: on standard output, and on error."""
    done = coffer(scene.space, "backup", "create", "db", "--name", "sunday", "--follow")
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def sunday(followed: tuple[str, str]) -> str:
    return "sunday"


def row(space: Space, *args: str) -> list[str]:
    """The words of the row that begins with the last of the arguments' name, of a list."""
    *command, name = args
    header, *rows = coffer(space, "backup", *command).stdout.splitlines()
    assert header.startswith("NAME"), header
    (found,) = [one.split() for one in rows if one.split()[0] == name]
    return found


def shown(space: Space, name: str) -> dict[str, str]:
    """The facts of `backup show`, by their labels."""
    lines = coffer(space, "backup", "show", name).stdout.split("\n\n")[0].splitlines()
    pairs = [line.split(":", 1) for line in lines if ":" in line]
    return {label.strip(): value.strip() for label, value in pairs}


def test_a_backup_is_followed_to_its_end(followed: tuple[str, str], scene: Scene) -> None:
    out, told = followed
    created, completed = out.splitlines()
    assert created == "backup.coffer.dev/sunday created"
    assert completed.startswith("backup.coffer.dev/sunday completed in ")
    assert "full backup of" in completed
    lines = told.splitlines()
    assert any(line.startswith("sunday: Running: the backup is being taken") for line in lines)
    assert all(line.startswith("sunday: ") for line in lines), told
    assert len(lines) == len(set(lines)), told
    found = status(scene.space, "sunday")
    assert found["phase"] == "Completed"
    keys = scene.bucket.keys(f"{PREFIX}/{found['path']}/")
    assert [key.rsplit("/", 1)[1] for key in keys][:2] == ["data", "manifest.json"]


def test_a_backup_is_listed_and_shown(scene: Scene, sunday: str) -> None:
    space = scene.space
    assert row(space, "list", "db", sunday)[1:4] == ["db", "full", "Completed"]
    assert "No resources found" in coffer(space, "backup", "list", "nobody").stderr
    facts, found = shown(space, sunday), status(space, sunday)
    assert facts["Instance"] == "db"
    assert facts["Path"] == found["path"]
    assert facts["GTID"] == found["position"]["gtid"]
    assert facts["Location"] == f"s3://{scene.bucket.name}/{PREFIX}/{found['path']}"
    assert facts["Key"] == "k1"
    as_json = json.loads(coffer(space, "backup", "show", sunday, "-o", "json").stdout)
    assert as_json["status"]["sizeBytes"] == found["sizeBytes"]


def test_a_backup_is_proved(scene: Scene, sunday: str) -> None:
    space = scene.space
    done = coffer(space, "backup", "verify", sunday, "--follow")
    assert done.stdout.splitlines()[-1].startswith(f"backup.coffer.dev/{sunday} verified in ")
    assert shown(space, sunday)["Verified"].startswith("Passed ")
    assert "Passed" in row(space, "list", sunday)
    assert space.instance(f"verify-{sunday}") is None
    proof = status(space, sunday)["verified"]
    moment = from_text(proof["time"])
    assert moment is not None
    expected = {
        "last_verified_timestamp_seconds": moment.timestamp(),
        "last_recovery_seconds": float(proof["durationSeconds"]),
    }
    wait_until("the metrics agree", lambda: expected.items() <= backup_metrics(space, "db").items())
    assert backup_metrics(space, f"verify-{sunday}") == {}


def test_a_backup_is_restored_into_an_instance_like_its_source(scene: Scene) -> None:
    space = scene.space
    with space.mysql("db", "app") as connection:
        query(connection, "CREATE TABLE shop.by_hand AS SELECT seq AS id FROM shop.seq_1_to_40")
    coffer(space, "backup", "create", "db", "--name", "monday", "--follow")
    expected = checksums(space, "db")
    assert "shop.by_hand" in expected
    done = coffer(space, "backup", "restore", "monday", "again", "--follow")
    assert done.stdout.splitlines()[0] == "databaseinstance.coffer.dev/again created"
    assert instance_phase(space, "again") == "Active"
    assert checksums(space, "again") == expected
    source, copy = space.instance("db"), space.instance("again")
    assert source is not None
    assert copy is not None
    for field in ("flavor", "volume", "databases", "users"):
        assert copy["spec"][field] == source["spec"][field], field
    space.delete("databaseinstance", "again")


def test_a_dump_is_loaded(scene: Scene) -> None:
    space = scene.space
    dump = ("--strategy", "MySQLDump", "--database", "odd-name", "--name", "dump")
    coffer(space, "backup", "create", "db", *dump, "--follow")
    before = checksums(space, "db")
    with space.mysql("db", "app") as connection:
        query(connection, "DELETE FROM `odd-name`.notes WHERE id > 7")
    emptied = checksums(space, "db")
    assert emptied != before
    load = ("backup", "load", "dump", "db")
    assert "--yes" in refusal(space, *load, code=USAGE)
    wrong = coffer(space, *load, "--database", "shop", "--yes", "--follow", code=FAILED).stderr
    last = wrong.splitlines()[-1]
    assert last.startswith("error: ")
    assert "shop" in last
    assert checksums(space, "db") == emptied
    done = coffer(space, *load, "--yes", "--follow").stdout
    created, loaded = done.splitlines()
    assert created.startswith("operation.coffer.dev/db-restore-")
    assert loaded.startswith("databaseinstance.coffer.dev/db loaded from dump")
    assert checksums(space, "db") == before


def test_a_backup_that_fails_is_followed_to_its_reason(scene: Scene) -> None:
    space = scene.space
    dump = ("--strategy", "MySQLDump", "--database", "abacus")
    create = ("backup", "create", "db", "--name", "odd", *dump)
    last = coffer(space, *create, "--follow", code=FAILED).stderr.splitlines()[-1]
    assert last.startswith("error: backup.coffer.dev/odd: Failed: ")
    assert "there is no database abacus" in last
    coffer(space, "backup", "delete", "odd", "--yes")


def test_a_chain_is_deleted_whole_or_not_at_all(scene: Scene) -> None:
    space, bucket = scene.space, scene.bucket
    coffer(space, "backup", "create", "db", "--name", "base", "--follow")
    coffer(space, "backup", "create", "db", "--name", "tip", "--parent", "base", "--follow")
    places = [f"{PREFIX}/{status(space, name)['path']}/" for name in ("base", "tip")]
    assert shown(space, "tip")["Parent"] == "base"
    wait_until("base tells of tip", lambda: shown(space, "base").get("Needed by") == "tip")

    assert refusal(space, "backup", "delete", "base", "--yes", code=REFUSED) == (
        "error: backup.coffer.dev/base is needed by tip; delete them first, or all of them with "
        "--cascade"
    )
    assert "--yes" in refusal(space, "backup", "delete", "tip", code=USAGE)
    with pytest.raises(Refused) as by_policy:
        space.delete("backup", "base")
    (line,) = str(by_policy.value).splitlines()
    assert "ValidatingAdmissionPolicy" in line
    assert line.endswith(
        "Backup base is needed by tip; delete them first, or all of them by kubectl coffer backup "
        "delete --cascade"
    )
    assert all(len(bucket.keys(place)) == 2 for place in places)

    done = coffer(space, "backup", "delete", "base", "--cascade", "--yes")
    assert done.stdout.splitlines() == [
        "backup.coffer.dev/tip deleted",
        "backup.coffer.dev/base deleted",
    ]
    assert [bucket.keys(place) for place in places] == [[], []]
    assert [space.get("backup", name) for name in ("base", "tip")] == [None, None]


def test_a_schedule_from_create_to_delete(scene: Scene) -> None:
    space = scene.space
    created = coffer(
        space,
        *("backup", "schedule", "create", "db", "--name", "rarely", "--full", NEVER),
        *("--time-zone", "Europe/Berlin", "--keep-count", "4"),
    )
    assert created.stdout.strip() == "backupschedule.coffer.dev/rarely created"

    def is_ready() -> bool:
        return condition(space.get("backupschedule", "rarely"), "Ready").get("status") == "True"

    wait_until("the schedule Ready", is_ready)
    listed = coffer(space, "backup", "schedule", "list").stdout
    assert "rarely" in listed
    assert NEVER in listed
    text = coffer(space, "backup", "schedule", "show", "rarely").stdout
    assert "4 full ones" in text
    assert "Europe/Berlin" in text
    for command, word, value in (("suspend", "suspended", True), ("resume", "resumed", False)):
        said = coffer(space, "backup", "schedule", command, "rarely").stdout
        assert said.strip() == f"backupschedule.coffer.dev/rarely {word}"
        again = coffer(space, "backup", "schedule", command, "rarely").stdout
        assert again.strip().endswith("unchanged")
        assert (space.get("backupschedule", "rarely") or {})["spec"]["suspend"] is value
    coffer(space, "backup", "schedule", "delete", "rarely", "--yes")
    assert space.get("backupschedule", "rarely") is None


WRONG: dict[str, tuple[list[str], int, str]] = {
    "instance": (["create", "none"], NOT_FOUND, "none"),
    "storage": (["create", "db", "--storage", "cellar"], NOT_FOUND, "cellar"),
    "both types": (["create", "db", "--full", "--incremental"], USAGE, "--full and --incremental"),
    "databases": (["create", "db", "--database", "shop"], USAGE, "--strategy"),
    "its own parent": (
        ["create", "db", "--name", "ring", "--parent", "ring"],
        USAGE,
        "a Backup cannot continue itself",
    ),
    "cron": (["schedule", "create", "db", "--full", "61 * * * *"], USAGE, "'61 * * * *'"),
    "time zone": (
        ["schedule", "create", "db", "--full", NEVER, "--time-zone", "Mars/Olympus"],
        USAGE,
        "Mars/Olympus",
    ),
    "retention": (
        ["schedule", "create", "db", "--full", NEVER, "--keep-age", "soon"],
        USAGE,
        "maxAge",
    ),
    "backup": (["show", "none"], NOT_FOUND, "none"),
    "verify": (["verify", "none", "--follow"], NOT_FOUND, "none"),
    "restore": (["restore", "none", "copy"], NOT_FOUND, "none"),
    "import": (["import", "cellar", "--list"], NOT_FOUND, "cellar"),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_is_one_line(scene: Scene, module_strict_webhook: None, what: str) -> None:
    args, code, words = WRONG[what]
    line = refusal(scene.space, "backup", *args, code=code)
    assert line.startswith("error: ")
    assert words in line
