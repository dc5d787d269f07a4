from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import UserError
from coffer_common.resources.configuration import ParameterOverride
from coffer_common.rules import ParameterType, Rules, load

MARIADB = load("mariadb", "10.11")


def overridden(**fields: Any) -> Rules:
    return MARIADB.overridden([ParameterOverride.model_validate(fields)])


def test_a_known_parameter_is_restricted_field_by_field() -> None:
    rules = overridden(name="MAX-CONNECTIONS", max=500)
    rule = rules.get("max_connections")
    known = MARIADB.get("max_connections")
    assert (rule.max, rule.min) == (500, known.min)
    assert (rule.type, rule.default, rule.description) == (
        known.type,
        known.default,
        known.description,
    )
    assert rules.check({"max_connections": 500}) == {"max_connections": 500}
    with pytest.raises(UserError, match="from 10 to 500"):
        rules.check({"max_connections": 501})
    assert MARIADB.check({"max_connections": 501}) == {"max_connections": 501}


@pytest.mark.parametrize(
    ("fields", "taken", "refused"),
    [
        ({"name": "query_cache_type", "allowed": ["off"]}, "OFF", "ON"),
        ({"name": "innodb_flush_log_at_trx_commit", "allowed": ["1", "2"]}, "2", 0),
        ({"name": "local_infile", "allowed": ["OFF"]}, False, True),
        ({"name": "init_connect", "pattern": "SET .*"}, "SET a", "DROP"),
        ({"name": "wait_timeout", "max": 3600}, "1h", "2h"),
        ({"name": "sort_buffer_size", "max": 4194304}, "4M", "5M"),
    ],
)
def test_what_an_administrator_allows(fields: dict[str, Any], taken: object, refused: Any) -> None:
    rules = overridden(**fields)
    rules.check({fields["name"]: taken})
    with pytest.raises(UserError, match=fields["name"]):
        rules.check({fields["name"]: refused})
    MARIADB.check({fields["name"]: refused})


def test_a_parameter_is_closed() -> None:
    rules = overridden(name="general_log", read_only=True)
    with pytest.raises(UserError, match="the administrator of the catalogue does not allow it"):
        rules.check({"general_log": True})


def test_a_dynamic_parameter_is_made_to_wait_for_a_restart() -> None:
    rules = overridden(name="max_connections", restart_required=True)
    assert rules.restart_required(["max_connections", "sort_buffer_size"]) == ("max_connections",)


def test_a_parameter_is_added() -> None:
    rule = overridden(name="plugin_thing", type="duration", max=60).get("plugin-thing")
    assert (rule.type, rule.unit, rule.max) == (ParameterType.DURATION, "s", 60)
    assert rule.restart_required
    assert rule.description
    assert rule.check("1m") == 60
    live = overridden(name="plugin_thing", type="boolean", restart_required=False)
    assert not live.get("plugin_thing").restart_required


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"name": "max_connections", "min": 5}, "min 5 is below the engine's, which is 10"),
        ({"name": "max_connections", "max": 200000}, "max 200000 is above the engine's"),
        ({"name": "max_connections", "min": 300, "max": 200}, "min 300 is above max 200"),
        ({"name": "max_connections", "min": 10.5}, "10.5 is no limit of a value of type integer"),
        ({"name": "max_connections", "type": "string"}, "is of type integer, which cannot change"),
        ({"name": "max_connections", "unit": "s"}, "its unit is none, which cannot change"),
        ({"name": "max_connections", "pattern": "1.*"}, "a pattern is for a string"),
        ({"name": "max_connections", "allowed": ["5"]}, "'5' is among the allowed values"),
        ({"name": "query_cache_type", "allowed": ["SOME"]}, "none of the engine's values: one of"),
        ({"name": "back_log", "restart_required": False}, "only when the engine is restarted"),
        ({"name": "datadir", "read_only": False}, "cannot be opened: the data lie on"),
        ({"name": "sql_mode", "pattern": "("}, "is no regular expression"),
        ({"name": "sql_mode", "min": 1}, "min and max are for numbers"),
        ({"name": "new"}, "it is not known, so it needs a type"),
        ({"name": "new", "type": "enum"}, "an enum needs its allowed values"),
        ({"name": "new", "type": "size", "min": 2, "max": 1}, "min 2 is above max 1"),
        ({"name": "new", "type": "integer", "unit": "s"}, "a unit is for a duration"),
        ({"name": "a = b", "type": "integer"}, "that is no name of a parameter"),
        ({"name": "a\nb", "type": "integer"}, "that is no name of a parameter"),
    ],
)
def test_an_override_that_is_wrong(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        overridden(**fields)
    assert caught.value.reason == "InvalidParameter"
    assert says in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_everything_that_is_wrong_is_said_at_once() -> None:
    wrong = [
        ParameterOverride(name="new"),
        ParameterOverride(name="max_connections", min=5),
        ParameterOverride(name="wait_timeout", max=60),
        ParameterOverride(name="WAIT-TIMEOUT", max=60),
    ]
    with pytest.raises(UserError) as caught:
        MARIADB.overridden(wrong)
    for part in ("new cannot be", "max_connections cannot be", "wait_timeout is named twice"):
        assert part in caught.value.message


@given(
    st.sampled_from(sorted(MARIADB.parameters)),
    st.none() | st.floats(allow_nan=True),
    st.none() | st.floats(allow_nan=True),
    st.lists(st.text(max_size=8), max_size=3),
    st.none() | st.text(max_size=8),
)
def test_an_override_never_widens(
    name: str, low: float | None, high: float | None, allowed: list[str], pattern: str | None
) -> None:
    override = ParameterOverride.model_construct(
        name=name, min=low, max=high, allowed=tuple(allowed), pattern=pattern
    )
    known = MARIADB.parameters[name]
    try:
        rule = MARIADB.overridden([override]).parameters[name]
    except UserError:
        return
    assert rule.read_only == known.read_only
    if known.min is not None:
        assert rule.min is not None
        assert rule.min >= known.min
    if known.max is not None:
        assert rule.max is not None
        assert rule.max <= known.max
