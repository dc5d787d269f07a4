"""config list, show, instances, history, parameters: what they print."""

import json

import pytest
import yaml

from cli_fake_api import FakeApi
from cli_objects import (
    DATASTORES,
    GROUPS,
    INSTANCES,
    Run,
    condition,
    datastore_version,
    group,
    instance,
    member,
    ready_status,
)
from coffer_cli.commands.config import group as group_module

PATH = f"{GROUPS}/conf"
MEMBERS = [
    member("a"),
    member("b", "PendingRestart", pendingRestart=["port", "tmpdir"]),
    member("c", "Refused", message="unknown option"),
]
HISTORY = [
    {
        "revision": 7,
        "hash": "c",
        "time": "2026-01-03T00:00:00Z",
        "values": {"max_connections": 9, "tmp_table_size": 4194304},
    },
    {
        "revision": 6,
        "hash": "b",
        "time": "2026-01-02T00:00:00Z",
        "values": {"max-connections": "5", "wait_timeout": 100},
    },
    {
        "revision": 5,
        "hash": "a",
        "time": "2026-01-01T00:00:00Z",
        "values": {"max_connections": 5, "wait_timeout": 100},
    },
]


@pytest.fixture(autouse=True)
def catalogue(api: FakeApi) -> None:
    api.put(f"{DATASTORES}/mariadb-10.11", datastore_version())


@pytest.fixture
def conf(api: FakeApi) -> None:
    made = group(values={"max_connections": "9", "slow_query_log": True})
    more = {"attached": 3, "applied": 1, "instances": MEMBERS, "history": HISTORY}
    api.put(PATH, {**made, "status": made["status"] | more})


@pytest.mark.parametrize("name", list(group_module.COMMANDS))
def test_every_command_explains_itself(run: Run, name: str) -> None:
    done = run("config", name, "-h")
    assert done.exit_code == 0
    assert f"Usage: kubectl coffer config {name}" in done.stdout


def test_help_lists_every_command(run: Run) -> None:
    text = run("config", "--help").stdout
    for name, (_, words) in group_module.COMMANDS.items():
        assert f"  {name} " in text
        assert words in text


@pytest.mark.usefixtures("conf")
def test_list_as_kubectl_prints(run: Run, api: FakeApi) -> None:
    api.put(f"{GROUPS}/another", group("another"))
    lines = run("config", "list").stdout.splitlines()
    assert [line.rsplit("   ", 1)[0].rstrip() for line in lines] == [
        "NAME      DATASTORE       VALUES   READY   ATTACHED   APPLIED",
        "another   mariadb:10.11   0        True    0          0",
        "conf      mariadb:10.11   2        True    3          1",
    ]
    assert run("config", "-n", "shop", "list", "-o", "name").stdout.splitlines() == [
        "configurationgroup.coffer.dev/another",
        "configurationgroup.coffer.dev/conf",
    ]
    header = run("config", "list", "-A", "-o", "wide").stdout.splitlines()[0].split()
    assert (header[0], header[-2:]) == ("NAMESPACE", ["DESCRIPTION", "STATUS"])


@pytest.mark.usefixtures("conf")
def test_show_tells_all_there_is(run: Run) -> None:
    text = run("config", "show", "conf").stdout
    for part in (
        "Datastore:       mariadb:10.11\n",
        "Ready:           True, the values are valid\n",
        "Attached:        3, 1 applied\n",
        "Max concurrent:  5\n",
        "Revision:        7\n",
        "  max_connections   9\n",
        "  slow_query_log    ON\n",
        "  b      PendingRestart   port,tmpdir       <none>\n",
        "  c      Refused          <none>            unknown option\n",
    ):
        assert part in text
    assert yaml.safe_load(run("config", "show", "conf", "-o", "yaml").stdout)["kind"] == (
        "ConfigurationGroup"
    )


@pytest.mark.usefixtures("conf")
def test_instances(run: Run, api: FakeApi) -> None:
    header, *rows = run("config", "instances", "conf").stdout.splitlines()
    assert header == "NAME   STATE            PENDING RESTART   MESSAGE"
    assert [row.split()[:2] for row in rows] == [[one["name"], one["state"]] for one in MEMBERS]
    document = json.loads(run("config", "instances", "conf", "-o", "json").stdout)
    assert document == {"group": "conf", "instances": MEMBERS}
    names = run("config", "instances", "conf", "-o", "name").stdout
    assert names.splitlines()[0] == "databaseinstance.coffer.dev/a"
    api.put(PATH, group())
    done = run("config", "instances", "conf")
    assert (done.stdout, done.stderr) == ("", "No instance is attached to conf.\n")


@pytest.mark.usefixtures("conf")
def test_history_says_what_each_revision_changed(run: Run) -> None:
    header, *rows = run("config", "history", "conf").stdout.splitlines()
    assert header.split() == ["REVISION", "AGE", "PARAMETER", "BEFORE", "AFTER"]
    cells = [row.split() for row in rows]
    assert cells[0][0] == "7"
    assert cells[0][2:] == ["max_connections", "5", "9"]
    assert cells[1] == ["tmp_table_size", "-", "4M"]
    assert cells[2] == ["wait_timeout", "100s", "-"]
    assert (cells[3][0], cells[3][2:]) == ("6", ["<none>"])
    assert (cells[4][0], cells[4][2:]) == ("5", ["max_connections", "?", "5"])
    document = json.loads(run("config", "history", "conf", "-o", "json").stdout)
    first = document["history"][0]
    assert first["revision"] == 7
    assert {"name": "max_connections", "before": 5, "after": 9} in first["changes"]


def test_history_of_the_first_revision(run: Run, api: FakeApi) -> None:
    api.put(PATH, group(history=[{**HISTORY[2], "revision": 1}]))
    assert run("config", "history", "conf").stdout.splitlines()[1].split()[2:] == [
        *("max_connections", "-", "5"),
    ]
    api.put(PATH, group() | {"status": {}})
    assert run("config", "history", "conf").stderr == "conf has had no valid values yet.\n"


# --- parameters -----------------------------------------------------------------------------------
def test_parameters_can_be_searched(run: Run) -> None:
    header, *rows = run("config", "parameters", "mariadb", "--search", "Max_Conn").stdout.split(
        "\n"
    )
    assert header.split() == ["NAME", "TYPE", "ALLOWED", "DEFAULT", "RESTART"]
    row = next(row for row in rows if row.startswith("max_connections "))
    assert row.split()[1] == "integer"
    assert " to " in row
    assert row.endswith("no")
    done = run("config", "parameters", "mariadb", "--search", "nothing like this")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No parameters of mariadb 10.11 found.\n"


def test_parameters_with_what_the_administrator_says(run: Run, api: FakeApi) -> None:
    overrides = [
        {"name": "max_connections", "max": 100, "description": "as many as the licence has"},
        {"name": "own_thing", "type": "enum", "allowed": ["x", "y"], "restartRequired": False},
    ]
    defaults = {"max_connections": 42}
    entry = datastore_version(parameters=overrides, defaultValues=defaults)
    api.put(f"{DATASTORES}/mariadb-10.11", entry)
    wide = run("config", "parameters", "mariadb:10.11", "-o", "wide").stdout
    rows = {row.split()[0]: row for row in wide.splitlines()}
    assert "to 100 " in rows["max_connections"]
    assert " 42 " in rows["max_connections"]
    assert rows["max_connections"].endswith("as many as the licence has")
    assert "x, y" in rows["own_thing"]
    found = json.loads(run("config", "parameters", "mariadb", "10.11", "-o", "json").stdout)
    by_name = {one["name"]: one for one in found["parameters"]}
    assert by_name["max_connections"]["max"] == 100
    assert by_name["max_connections"]["default"] == 42
    assert by_name["own_thing"]["restartRequired"] is False
    assert by_name["datadir"]["readOnly"] is True
    assert "datadir" in run("config", "parameters", "mariadb", "-o", "name").stdout.split()


def test_parameters_that_nobody_may_set_say_why(run: Run) -> None:
    text = run("config", "parameters", "mariadb", "--search", "datadir").stdout
    assert "read only: " in text


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("mysql",), 3, "there is no datastore mysql in the catalogue"),
        (("mariadb", "9"), 3, "there is no version 9 of mariadb in the catalogue; there is 10.11"),
        (("new",), 1, "this program does not know the parameters of new 1"),
    ],
)
def test_parameters_of_what_is_not_there(
    run: Run, api: FakeApi, arguments: tuple[str, ...], code: int, text: str
) -> None:
    api.put(f"{DATASTORES}/new-1", datastore_version("new", "1"))
    done = run("config", "parameters", *arguments)
    assert (done.exit_code, done.stderr) == (code, f"error: {text}\n")


# --- an instance's own page -----------------------------------------------------------------------
def test_show_of_an_instance_tells_of_its_configuration(run: Run, api: FakeApi) -> None:
    report = {"group": "conf", "hash": "h", "pendingRestart": ["port"], "drift": "x: 5, was 6"}
    pending = condition("ConfigurationApplied", "False", "an engine refused them")
    ready = ready_status()
    changed = {"conditions": [*ready["conditions"], pending], "configuration": report}
    maintenance = {
        "window": {"days": ["Sat", "Sun"], "start": "02:30", "duration": "2h", "timeZone": "UTC"},
        "autoRestart": True,
    }
    made = instance(configurationRef={"name": "conf"}, maintenance=maintenance)
    api.put(f"{INSTANCES}/orders", made | {"status": ready | changed})
    text = run("show", "orders").stdout
    for part in (
        "Configuration:        conf\n",
        "Configuration state:  False, an engine refused them\n",
        "Pending restart:      port\n",
        "Drift:                x: 5, was 6\n",
        "Maintenance:          Sat, Sun 02:30 UTC for 2h, restarts by itself\n",
    ):
        assert part in text
    api.put(f"{INSTANCES}/orders", instance())
    plain = run("show", "orders").stdout
    assert "Configuration:        <none>\n" in plain
    assert "Drift" not in plain


def test_a_default_of_the_version_is_known_in_any_spelling(run: Run, api: FakeApi) -> None:
    version = datastore_version()
    version["spec"]["defaultValues"] = {"Slow-Query-Log": "on"}
    api.put(f"{DATASTORES}/mariadb-10.11", version)
    document = json.loads(run("config", "parameters", "mariadb", "-o", "json").stdout)
    (found,) = [one for one in document["parameters"] if one["name"] == "slow_query_log"]
    assert found["default"] is True


def test_parameters_of_two_versions_at_once_are_refused(run: Run, api: FakeApi) -> None:
    done = run("config", "parameters", "mariadb:10.11", "11.4")
    assert done.exit_code == 2
    assert "mariadb:10.11" in done.stderr
