"""config create, set, unset, patch, replace, rollback, delete, attach, detach: what they send."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli_fake_api import FakeApi, status
from cli_objects import (
    DATASTORES,
    GROUPS,
    INSTANCES,
    Run,
    condition,
    datastore_version,
    group,
    group_status,
    instance,
    member,
    ready_status,
)
from coffer_cli.commands.config import create as create_module
from coffer_common.resources.configuration import ConfigurationGroupSpec

PATH = f"{GROUPS}/conf"
ORDERS = f"{INSTANCES}/orders"
CREATE = ("config", "create", "conf", "--datastore", "mariadb")


@pytest.fixture(autouse=True)
def catalogue(api: FakeApi) -> None:
    api.put(f"{DATASTORES}/mariadb-10.11", datastore_version())
    api.put(f"{DATASTORES}/mariadb-10.6", datastore_version(version="10.6", default=False))
    api.put(f"{DATASTORES}/redis-7.0", datastore_version("redis", "7.0"))


def spec_values(api: FakeApi) -> dict[str, Any]:
    values: dict[str, Any] = api.objects[PATH]["spec"]["values"]
    return values


@pytest.fixture
def values_file(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "values.yaml"
        path.write_text(text)
        return str(path)

    return write


# --- create ---------------------------------------------------------------------------------------
def test_create_takes_the_default_version_and_both_sources(
    run: Run, api: FakeApi, values_file: Callable[[str], str]
) -> None:
    file = values_file("max_connections: 200\nslow_query_log: on\n")
    done = run(*CREATE, "max_connections=300", "-f", file, "--description", "for the shop")
    assert (done.exit_code, done.stdout) == (0, "configurationgroup.coffer.dev/conf created\n")
    spec = ConfigurationGroupSpec.model_validate(api.bodies[0]["spec"])
    assert (spec.datastore.type, spec.datastore.version) == ("mariadb", "10.11")
    assert spec.description == "for the shop"
    assert api.bodies[0]["spec"]["values"] == {"max_connections": "300", "slow_query_log": True}


@pytest.mark.parametrize(
    "arguments",
    [("mariadb", "--version", "10.6"), ("mariadb:10.6",), ("mariadb:10.6", "--version", "10.6")],
)
def test_create_for_a_version(run: Run, api: FakeApi, arguments: tuple[str, ...]) -> None:
    assert run("config", "create", "conf", "--datastore", *arguments).exit_code == 0
    assert api.bodies[0]["spec"]["datastore"] == {"type": "mariadb", "version": "10.6"}


def test_create_prints_the_manifest_that_it_would_send(run: Run, api: FakeApi) -> None:
    printed = run(*CREATE, "max_connections=300", "--dry-run", "client", "-o", "yaml")
    assert api.asked("POST") == []
    run(*CREATE, "max_connections=300")
    assert yaml.safe_load(printed.stdout) == api.bodies[0]


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("mysql",), 3, "there is no datastore mysql in the catalogue"),
        (("mariadb:9",), 3, "there is no version 9 of mariadb in the catalogue; there is"),
        (("mariadb:",), 2, "--datastore mariadb:: write NAME, NAME:VERSION or --version"),
        (("mariadb:10.6", "--version", "10.11"), 2, "write NAME, NAME:VERSION or --version"),
        (("mariadb", "max_conections=5"), 2, "did you mean max_connections?"),
        (("mariadb", "max_connections=many"), 2, "max_connections: 'many' is refused"),
        (("mariadb", "datadir=/tmp"), 2, "datadir cannot be set"),
        (("mariadb", "-f", "/nowhere"), 2, "/nowhere: No such file or directory"),
    ],
)
def test_mistakes_are_told_before_anything_is_sent(
    run: Run, api: FakeApi, arguments: tuple[str, ...], code: int, text: str
) -> None:
    done = run("config", "create", "conf", "--datastore", *arguments)
    assert done.exit_code == code
    assert text in done.stderr
    assert done.stderr.count("\n") == 1
    assert api.asked("POST") == []


def test_the_administrators_overrides_count(run: Run, api: FakeApi) -> None:
    overrides = [{"name": "max_connections", "max": 100}, {"name": "own_thing", "type": "integer"}]
    api.put(f"{DATASTORES}/mariadb-10.11", datastore_version(parameters=overrides))
    refused = run(*CREATE, "max_connections=101")
    assert refused.exit_code == 2
    assert "to 100" in refused.stderr
    assert run(*CREATE, "max_connections=99", "own_thing=7").exit_code == 0


def test_what_cannot_be_checked_here_is_left_to_the_server(run: Run, api: FakeApi) -> None:
    api.put(f"{DATASTORES}/new-1", datastore_version("new", "1"))
    assert run("config", "create", "conf", "--datastore", "new", "x=1").exit_code == 0
    api.put(PATH, group())
    api.refuse("GET", "/apis/coffer.dev/v1alpha1/datastoreversions", status(403, "Forbidden", "no"))
    refusal = 'admission webhook "v.coffer.dev" denied the request: no_such: is not a parameter'
    api.refuse("PATCH", PATH, status(422, "Invalid", refusal))
    done = run("config", "set", "conf", "no_such=1")
    assert (done.exit_code, done.stderr) == (2, "error: no_such: is not a parameter\n")


# --- set, unset, patch, replace -------------------------------------------------------------------
def test_set_follows_the_rollout(run: Run, api: FakeApi) -> None:
    api.put(PATH, group(values={"wait_timeout": 100}))
    two = "innodb_log_file_size"
    api.script(
        PATH,
        lambda: api.patch_status(
            PATH, group_status(2, member("a", "Applying"), member("b", "Waiting"))
        ),
        lambda: api.patch_status(PATH, group_status(2, member("a"), member("b", "Applying"))),
        lambda: api.patch_status(
            PATH, group_status(2, member("a"), member("b", "PendingRestart", pendingRestart=[two]))
        ),
    )
    done = run("config", "set", "conf", "max_connections=77", f"{two}=128M")
    assert done.exit_code == 0, done.stderr
    assert done.stdout.splitlines() == [
        "configurationgroup.coffer.dev/conf changed",
        "configurationgroup.coffer.dev/conf 1 of 2 applied, 1 pending restart (b)",
    ]
    assert done.stderr.splitlines() == [
        "conf: Pending: waiting for the operator to take notice",
        "conf: Applying: 0 of 2 applied, 1 applying (a), 1 waiting (b)",
        "conf: Applying: 1 of 2 applied, 1 applying (b)",
        "conf: Applied: 1 of 2 applied, 1 pending restart (b)",
        f"b: at its next restart: {two} (kubectl coffer restart b)",
    ]
    assert spec_values(api) == {"wait_timeout": 100, "max_connections": "77", two: "128M"}


@pytest.mark.parametrize("state", ["Refused", "RolledBack"])
def test_a_rollout_that_an_engine_stops(run: Run, api: FakeApi, state: str) -> None:
    api.put(PATH, group())
    bad = member("b", state, message="unknown option")
    api.script(PATH, lambda: api.patch_status(PATH, group_status(2, member("a"), bad)))
    done = run("config", "set", "conf", "max_connections=77")
    assert done.exit_code == 1
    assert f"/conf: {state}: 1 of 2 applied" in done.stderr
    assert done.stderr.endswith("; b: unknown option\n")


def test_a_group_that_the_operator_finds_invalid(run: Run, api: FakeApi) -> None:
    api.put(PATH, group())
    stalled = {"conditions": [condition("Stalled", "True", "x is not a parameter", 2)]}
    api.script(PATH, lambda: api.patch_status(PATH, group_status(2) | stalled))
    done = run("config", "set", "conf", "max_connections=77")
    assert done.exit_code == 1
    assert done.stderr.endswith("/conf: Stalled: x is not a parameter\n")


def test_an_unreachable_instance_is_named_and_not_waited_for(run: Run, api: FakeApi) -> None:
    api.put(PATH, group())
    away = member("b", "Unreachable", message="it gets the values when it answers")
    api.script(PATH, lambda: api.patch_status(PATH, group_status(2, member("a"), away)))
    done = run("config", "set", "conf", "max_connections=77")
    assert done.exit_code == 0
    assert "1 of 2 applied, 1 unreachable (b)" in done.stdout
    assert done.stderr.endswith(
        "b: does not have the values yet: it gets the values when it answers\n"
    )


def test_a_rollout_that_takes_too_long(run: Run, api: FakeApi) -> None:
    api.put(PATH, group())
    slow = member("b", "Waiting")
    api.script(PATH, lambda: api.patch_status(PATH, group_status(2, member("a"), slow)))
    done = run("config", "set", "conf", "max_connections=77", "--timeout", "0.2")
    assert done.exit_code == 4
    assert "(Applying: 1 of 2 applied, 1 waiting (b)); it goes on without" in done.stderr


def test_setting_what_is_there_changes_nothing(run: Run, api: FakeApi) -> None:
    api.put(PATH, group(values={"max_connections": "77"}))
    done = run("config", "set", "conf", "max_connections=77")
    assert done.stdout.splitlines() == [
        "configurationgroup.coffer.dev/conf unchanged",
        "configurationgroup.coffer.dev/conf no instance is attached",
    ]
    assert api.asked("PATCH") == []


def test_two_editors_lose_nothing(run: Run, api: FakeApi) -> None:
    api.put(PATH, group(values={"wait_timeout": 100, "tmp_table_size": "1M"}))

    def somebody_else() -> None:
        values = {"max_connections": 5, "tmp_table_size": "1M", "wait_timeout": 50}
        api.put(PATH, group(values=values))

    answer = api.answer

    def between(method: str, url: str, body: Any) -> Any:
        if method == "PATCH" and len(api.asked("PATCH")) == 0:
            somebody_else()
        return answer(method, url, body)

    api.answer = between  # type: ignore[method-assign]  # a race, made to happen
    done = run("config", "set", "conf", "tmp_table_size=2M", "--no-wait")
    assert done.exit_code == 0, done.stderr
    assert len(api.asked("PATCH")) == 2
    expected = {"max_connections": 5, "tmp_table_size": "2M", "wait_timeout": 50}
    assert spec_values(api) == expected


def test_a_conflict_without_end_is_given_up(run: Run, api: FakeApi) -> None:
    api.put(PATH, group())
    api.refuse("PATCH", PATH, *[status(409, "Conflict", "has been modified")] * 20)
    done = run("config", "set", "conf", "max_connections=70", "--no-wait")
    assert (done.exit_code, done.stderr) == (1, "error: has been modified\n")
    assert len(api.asked("PATCH")) == 10


def test_patches_say_which_group_they_mean(run: Run, api: FakeApi) -> None:
    version = api.put(PATH, group())["metadata"]["resourceVersion"]
    run("config", "set", "conf", "max_connections=70", "--no-wait")
    body = {"resourceVersion": version}
    assert api.bodies == [{"metadata": body, "spec": {"values": {"max_connections": "70"}}}]
    assert "fieldValidation=Strict" in api.asked("PATCH")[0]
    assert api.headers[-1]["Content-Type"] == "application/merge-patch+json"


def test_unset_takes_out_by_any_spelling(run: Run, api: FakeApi) -> None:
    api.put(PATH, group(values={"wait_timeout": 100, "max-connections": 5, "tmp_table_size": 1}))
    done = run("config", "unset", "conf", "wait_timeout", "max_connections", "--no-wait")
    assert done.exit_code == 0
    assert spec_values(api) == {"tmp_table_size": 1}


def test_unset_of_what_is_not_there(run: Run, api: FakeApi) -> None:
    api.put(PATH, group(values={"wait_timeout": 100}))
    done = run("config", "unset", "conf", "wait_timeut")
    assert done.exit_code == 3
    assert done.stderr == "error: conf has no value for wait_timeut; did you mean wait_timeout?\n"


def test_patch_merges_a_file(run: Run, api: FakeApi, values_file: Callable[[str], str]) -> None:
    api.put(PATH, group(values={"wait_timeout": 100, "tmp_table_size": "1M"}))
    file = values_file("wait_timeout: null\nmax_connections: 90\nsort_buffer_size: null\n")
    assert run("config", "patch", "conf", "-f", file, "--no-wait").exit_code == 0
    assert spec_values(api) == {"tmp_table_size": "1M", "max_connections": 90}


def test_replace_leaves_nothing_of_the_old(run: Run, api: FakeApi) -> None:
    api.put(PATH, group(values={"wait_timeout": 100, "tmp_table_size": "1M"}))
    done = run(
        *("config", "replace", "conf", "-f", "-", "--no-wait"), stdin='{"max_connections": 90}'
    )
    assert done.exit_code == 0, done.stderr
    assert spec_values(api) == {"max_connections": 90}
    refused = run("config", "replace", "conf", "-f", "-", stdin="max_connections: [1]")
    assert refused.exit_code == 2
    assert spec_values(api) == {"max_connections": 90}


# --- rollback, delete -----------------------------------------------------------------------------
def test_rollback_puts_back_all_values(run: Run, api: FakeApi) -> None:
    old = {
        "revision": 1,
        "hash": "a",
        "time": "2026-01-01T00:00:00Z",
        "values": {"wait_timeout": 1},
    }
    api.put(PATH, group(values={"max_connections": 5}, history=[old]))
    assert run("config", "rollback", "conf", "1", "--no-wait").exit_code == 0
    assert spec_values(api) == {"wait_timeout": 1}
    done = run("config", "rollback", "conf", "7")
    assert done.exit_code == 3
    assert done.stderr == "error: conf has no revision 7 any more (kept: 1)\n"


def test_delete_shows_why_it_is_refused(run: Run, api: FakeApi) -> None:
    api.put(PATH, group())
    text = "ConfigurationGroup conf is attached to orders; detach it first"
    refusal = f"ValidatingAdmissionPolicy 'p' with binding 'b' denied request: {text}"
    api.refuse("DELETE", PATH, status(403, "Forbidden", refusal))
    done = run("config", "delete", "conf", "-y")
    assert (done.exit_code, done.stderr) == (5, f"error: {text}\n")
    done = run("config", "delete", "conf", "-y")
    assert (done.exit_code, done.stdout) == (0, "configurationgroup.coffer.dev/conf deleted\n")
    assert PATH not in api.objects


def test_delete_asks(run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    api.put(PATH, group())
    assert run("config", "delete", "conf").exit_code == 2
    monkeypatch.setattr(create_module, "_can_ask", lambda: True)
    assert run("config", "delete", "conf", stdin="n\n").exit_code == 1
    assert PATH in api.objects
    assert run("config", "delete", "conf", stdin="y\n").exit_code == 0
    assert PATH not in api.objects


# --- attach, detach -------------------------------------------------------------------------------
def _applied(generation: int, reason: str = "Applied", **report: Any) -> dict[str, Any]:
    entry = condition("ConfigurationApplied", "True", f"it is {reason}", generation)
    ready = ready_status()
    conditions = [*ready["conditions"], {**entry, "reason": reason}]
    return ready | {"conditions": conditions, "configuration": report}


def test_attach_waits_for_the_values(run: Run, api: FakeApi) -> None:
    api.put(PATH, group())
    api.put(ORDERS, instance() | {"status": _applied(1)})
    api.script(
        ORDERS,
        lambda: api.patch_status(ORDERS, _applied(2, "WaitingForTurn")),
        lambda: api.patch_status(ORDERS, _applied(2, "PendingRestart", pendingRestart=["port"])),
    )
    done = run("config", "attach", "orders", "conf")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "databaseinstance.coffer.dev/orders attached to conf",
        "databaseinstance.coffer.dev/orders configured",
    ]
    assert done.stderr.splitlines() == [
        "orders: Pending: waiting for the operator to take notice",
        "orders: WaitingForTurn: it is WaitingForTurn",
        "orders: PendingRestart: it is PendingRestart",
        "orders: at its next restart: port (kubectl coffer restart orders)",
    ]
    assert api.bodies == [{"spec": {"configurationRef": {"name": "conf"}}}]


def test_attach_where_the_engine_refuses(run: Run, api: FakeApi) -> None:
    api.put(PATH, group())
    api.put(ORDERS, instance())
    api.script(ORDERS, lambda: api.patch_status(ORDERS, _applied(2, "Refused")))
    done = run("config", "attach", "orders", "conf")
    assert done.exit_code == 1
    assert done.stderr.endswith("/orders: Refused: it is Refused\n")


def test_detach(run: Run, api: FakeApi) -> None:
    api.put(ORDERS, instance(configurationRef={"name": "conf"}))
    done = run("config", "detach", "orders", "--no-wait")
    assert done.stdout == "databaseinstance.coffer.dev/orders detached from conf\n"
    assert "configurationRef" not in api.objects[ORDERS]["spec"]
    done = run("config", "detach", "orders", "--no-wait")
    assert done.stdout == "databaseinstance.coffer.dev/orders unchanged (no group)\n"
    assert len(api.asked("PATCH")) == 1


@pytest.mark.parametrize(
    ("datastore", "text"),
    [
        ({"type": "redis", "version": "7.0"}, "conf is for redis 7.0, orders is mariadb 10.11"),
        ({"type": "mariadb", "version": "9"}, "conf is for mariadb 9, orders is mariadb 10.11"),
    ],
)
def test_attach_to_a_group_of_another_engine(
    run: Run, api: FakeApi, datastore: dict[str, str], text: str
) -> None:
    api.put(PATH, {**group(), "spec": {"datastore": datastore}})
    api.put(ORDERS, instance())
    done = run("config", "attach", "orders", "conf")
    assert (done.exit_code, done.stderr) == (2, f"error: {text}\n")
    assert api.asked("PATCH") == []


def test_create_of_an_instance_names_its_group(run: Run, api: FakeApi) -> None:
    options = ("--datastore", "mariadb", "--flavor", "small", "--volume", "1Gi", "--no-wait")
    assert run("create", "orders", *options, "--configuration", "conf").exit_code == 0
    assert api.bodies[0]["spec"]["configurationRef"] == {"name": "conf"}
