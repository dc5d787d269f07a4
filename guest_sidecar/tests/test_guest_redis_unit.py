"""Redis's users and configuration files, without a server."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import UserError
from coffer_guest.engines.base import EngineUnavailable, Layers, Site
from coffer_guest.engines.redis import acl, configuration, verify
from coffer_guest.engines.redis.session import translate

SITE = Site(Path("/v/data"), Path("/v/tmp"), Path("/run/x"))
ETC = Path("/v/etc/one")
SHOWN = "~* &* +@all -@dangerous"


def user(rules: str) -> acl.AclUser:
    return acl.AclUser("app", tuple(rules.split()))


def test_acl_file_keeps_users_and_renews_ours() -> None:
    former = (
        "user default on nopass ~* &* +@all\n"
        "user coffer-agent on #old ~* &* +@all\n"
        f"user app on {acl.password_hash('a')} {SHOWN}\n"
    )
    text = acl.file_text(former, "new")
    users = {one.name: one for one in acl.parse_list(text.splitlines())}
    assert set(users) == {"default", "coffer-agent", "app"}
    assert "off" in users["default"].rules
    assert "nopass" not in users["default"].rules
    assert acl.password_hash("new") in users["coffer-agent"].rules
    assert acl.is_set(users["app"], "a")


@given(st.text(), st.text(min_size=1))
def test_acl_file_is_the_same_again_and_holds_no_password(former: str, password: str) -> None:
    once = acl.file_text(former, password)
    assert acl.file_text(once, password) == once
    names = [one.name for one in acl.parse_list(once.splitlines())]
    assert names.count("default") == 1
    assert names.count(acl.ADMINISTRATOR) == 1


@pytest.mark.parametrize(
    "rules",
    [
        f"off {acl.password_hash('a')} {SHOWN}",
        f"on nopass {acl.password_hash('a')} {SHOWN}",
        f"on {acl.password_hash('a')} {acl.password_hash('b')} {SHOWN}",
        f"on {acl.password_hash('b')} {SHOWN}",
        f"on {acl.password_hash('a')} ~* &* +@all",
    ],
)
def test_a_user_that_differs_is_set_anew(rules: str) -> None:
    assert not acl.is_set(user(rules), "a")


@pytest.mark.parametrize(
    ("name", "host", "databases", "word"),
    [
        ("default", "%", (), "belongs"),
        ("coffer-agent", "%", (), "belongs"),
        ("two words", "%", (), "white space"),
        ("", "%", (), "white space"),
        ("app", "10.0.0.1", (), "host"),
        ("app", "%", ("shop",), "databases"),
    ],
)
def test_users_that_cannot_be(name: str, host: str, databases: tuple[str, ...], word: str) -> None:
    with pytest.raises(UserError, match=word) as refused:
        acl.check_user(name, host, databases)
    assert "\n" not in refused.value.message


def test_system_parameters_come_last() -> None:
    layers = Layers("maxmemory 1mb\n", {"hz": 20}, {"loglevel": "debug"}, 6379)
    files = configuration.files(ETC, layers, SITE)
    includes = files[configuration.MAIN].splitlines()
    assert [line.rpartition("/")[2] for line in includes] == [
        '10-template.conf"',
        '20-defaults.conf"',
        '30-group.conf"',
        '80-merged.conf"',
        '90-system.conf"',
    ]
    values = configuration.parse(files[configuration.SYSTEM])
    assert values["aclfile"] == "/v/data/users.acl"
    assert values["port"] == "6379"


def test_parse_joins_what_adds_up() -> None:
    values = configuration.parse('save 1 1\nsave 60 5\n# no\nlogfile ""\nMaxMemory 5mb\n')
    assert values == {"save": "1 1 60 5", "logfile": "", "maxmemory": "5mb"}


def test_error_answers_have_their_policy() -> None:
    names = [
        type(translate(text)).__name__
        for text in ("LOADING Redis is loading", "MISCONF no disk", "ERR unknown command")
    ]
    assert names == ["EngineUnavailable", "Transient", "UserError"]


# --- the task `verify` ----------------------------------------------------------------------------
def test_keys_are_counted_over_all_databases() -> None:
    info = "# Persistence\r\nloading:0\r\n# Keyspace\r\ndb0:keys=2,expires=0\r\ndb3:keys=5\r\n"
    assert verify.outcome(info).result == {"keys": 7, "databases": 2}
    assert verify.outcome("loading:0\r\ndbsomething:else\r\n").result == {"keys": 0, "databases": 0}


@pytest.mark.parametrize("info", ["loading:1\r\ndb0:keys=2\r\n", ""])
def test_data_that_are_being_loaded_are_not_counted(info: str) -> None:
    with pytest.raises(EngineUnavailable, match="loading"):
        verify.outcome(info)
