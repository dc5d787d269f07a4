import json
import math
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coffer_common.errors import Permanent, UserError
from coffer_common.rules import Parameter, ParameterType, Rules, load, parse_rules, size_text

ENGINES = pytest.mark.parametrize(
    ("datastore", "version"), [("mariadb", "10.11"), ("redis", "7.0")]
)


def parameter(kind: str, **fields: Any) -> Parameter:
    return Parameter.model_validate(
        {"name": "p", "type": kind, "description": "P.", "restart_required": False} | fields
    )


def refused(rule: Parameter, value: object) -> str:
    with pytest.raises(UserError) as caught:
        rule.check(value)
    assert caught.value.reason == "InvalidParameter"
    assert len(caught.value.message.splitlines()) == 1
    return caught.value.message


@pytest.mark.parametrize(
    ("rule", "value", "result"),
    [
        (parameter("integer"), "12", 12),
        (parameter("integer"), 12.0, 12),
        (parameter("integer", min=-1), "-1", -1),
        (parameter("float"), "1.5", 1.5),
        (parameter("boolean"), "On", True),
        (parameter("boolean"), "no", False),
        (parameter("boolean"), 1, True),
        (parameter("boolean"), False, False),
        (parameter("size"), "64M", 64 * 2**20),
        (parameter("size"), "64Mi", 64 * 2**20),
        (parameter("size"), "64mb", 64 * 2**20),
        (parameter("size"), "64MiB", 64 * 2**20),
        (parameter("size"), "12B", 12),
        (parameter("size"), 12, 12),
        (parameter("duration", unit="s"), "2h", 7200),
        (parameter("duration", unit="ms"), "2s", 2000),
        (parameter("duration", unit="us"), "3ms", 3000),
        (parameter("duration", unit="s"), "5000ms", 5),
        (parameter("duration", unit="s"), 5, 5),
        (parameter("duration", unit="s"), "5", 5),
        (parameter("enum", allowed=["OFF", "Auto"]), "auto", "Auto"),
        (parameter("enum", allowed=["OFF", "Auto"]), False, "OFF"),
        (parameter("enum", allowed=["0", "1"]), 1, "1"),
        (parameter("string"), "", ""),
        (parameter("string"), 5, "5"),
        (parameter("string", pattern="a+"), "aa", "aa"),
    ],
)
def test_what_is_taken(rule: Parameter, value: object, result: object) -> None:
    checked = rule.check(value)
    assert checked == result
    assert type(checked) is type(result)


@pytest.mark.parametrize(
    ("rule", "value", "says"),
    [
        (parameter("integer", min=1, max=9), 10, "a whole number from 1 to 9"),
        (parameter("integer", min=1), 0, "a whole number of at least 1"),
        (parameter("integer", max=1), 2, "a whole number of at most 1"),
        (parameter("integer"), True, "a whole number"),
        (parameter("integer"), "1.5", "a whole number"),
        (parameter("integer"), 1.5, "a whole number"),
        (parameter("integer"), None, "null is refused: allowed is a whole number"),
        (parameter("integer"), [1], "a list is refused: allowed is a whole number"),
        (parameter("integer"), {"a": 1}, "a mapping is refused: allowed is a whole number"),
        (parameter("integer"), 10**50, "a number without measure is refused"),
        (parameter("integer"), 2**64, "a whole number"),
        (parameter("size"), "999999P", "a size such as"),
        (parameter("integer", allowed=["1", "2"]), 3, "one of 1, 2"),
        (parameter("boolean", allowed=["ON"]), False, "one of ON"),
        (parameter("string"), "a" * 1537, "at most 1536 bytes"),
        (parameter("string"), "a\u2028b", "printable text"),
        (parameter("string", pattern="[0-9]+%", form="a share such as 5%"), "5", "is a share such"),
        (parameter("float"), "nan", "a number"),
        (parameter("float"), math.inf, "a number"),
        (parameter("float"), "1e999", "a number"),
        (parameter("boolean"), "maybe", "ON or OFF"),
        (parameter("boolean"), 2, "ON or OFF"),
        (parameter("size", min=2**20), "5K", "64M or 2G of at least 1M"),
        (parameter("size"), "1.5G", "a size such as"),
        (parameter("size"), "-1", "a size such as"),
        (parameter("duration", unit="s"), "1500ms", "a duration in s"),
        (parameter("duration", unit="s", max=60), "2h", "of at most 60s"),
        (parameter("enum", allowed=["a", "b"]), "c", "one of a, b"),
        (parameter("enum", allowed=["a", "b"]), True, "one of a, b"),
        (parameter("string"), "a\nb", "printable text"),
        (parameter("string", pattern="a+"), "ab", "matches a+"),
        (parameter("string"), ["a"], "printable text"),
        (parameter("string", read_only=True), "a", "cannot be set: it cannot be changed"),
    ],
)
def test_what_is_refused(rule: Parameter, value: object, says: str) -> None:
    if rule.type is ParameterType.SIZE and value == "-1":
        rule = parameter("size", min=0)
    message = refused(rule, value)
    assert message.startswith(("p: ", "p cannot be set"))
    assert says in message


@given(st.text())
def test_a_string_never_smuggles_a_line_break(text: str) -> None:
    rule = parameter("string")
    if len(text.splitlines()) > 1 or any(ord(character) < 0x20 for character in text):
        refused(rule, text)
    elif text.isascii() and text.isprintable():
        assert rule.check(text) == text


@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_limits_are_inclusive(value: int, one: int, other: int) -> None:
    low, high = sorted((one, other))
    rule = parameter("integer", min=low, max=high)
    if low <= value <= high:
        assert rule.check(value) == rule.check(str(value)) == value
    else:
        refused(rule, value)


@given(st.integers(0, 2**62))
def test_a_size_reads_back(size_bytes: int) -> None:
    assert parameter("size").check(size_text(size_bytes)) == size_bytes


@given(st.from_type(type).flatmap(st.from_type) | st.text() | st.floats() | st.integers())
def test_no_value_breaks_a_rule(value: object) -> None:
    for kind in ParameterType:
        rule = parameter(kind, unit="s", allowed=["a"])
        try:
            result = rule.check(value)
        except UserError:
            continue
        assert isinstance(result, int | float | bool | str)


def test_a_misspelt_name_gets_a_suggestion() -> None:
    rules = load("mariadb", "10.11")
    for wrong in ("max_conections", "MAX-CONNECTION", "maxconnections"):
        with pytest.raises(UserError, match="did you mean max_connections"):
            rules.get(wrong)
    with pytest.raises(UserError) as caught:
        rules.get("entirely unlike" * 1000)
    assert "did you mean" not in caught.value.message
    assert len(caught.value.message) < 200


def test_everything_that_is_wrong_is_said_at_once() -> None:
    rules = Rules({"a": parameter("integer", name="a"), "b": parameter("boolean", name="b")})
    assert rules.check({"a": "1", "b": "off"}) == {"a": 1, "b": False}
    with pytest.raises(UserError) as caught:
        rules.check({"a": "x", "b": "y", "c": 1})
    for part in ("a: 'x'", "b: 'y'", "'c' is not a parameter"):
        assert part in caught.value.message


def test_names_are_known_in_any_spelling() -> None:
    rules = load("mariadb", "10.11")
    for spelling in ("max_connections", "MAX-CONNECTIONS", "Max_Connections"):
        assert rules.check({spelling: "75"}) == {"max_connections": 75}
    with pytest.raises(UserError) as caught:
        rules.check({"max-connections": 75, "max_connections": 75})
    assert "max_connections is named twice: 'max-connections' and 'max_connections'" in str(
        caught.value
    )


@pytest.mark.parametrize("count", [1, 6, 500])
def test_one_line_says_what_is_wrong_whatever_there_is(count: int) -> None:
    rules = Rules({"a": parameter("integer", name="a")})
    with pytest.raises(UserError) as caught:
        rules.check({"x" * 120 + str(index): index for index in range(count)})
    message = caught.value.message
    assert len(message) <= 1024
    assert len(message.splitlines()) == 1
    assert ("more" in message) == (count > 6)


@ENGINES
def test_the_rules_of_an_engine_are_consistent(datastore: str, version: str) -> None:
    for rule in load(datastore, version).parameters.values():
        assert (rule.type is ParameterType.ENUM) == bool(rule.allowed), rule.name
        assert (rule.type is ParameterType.DURATION) == (rule.unit is not None), rule.name
        assert rule.pattern is None or rule.type is ParameterType.STRING, rule.name
        assert rule.description.endswith("."), rule.name
        if rule.min is not None and rule.max is not None:
            assert rule.min < rule.max, rule.name


@ENGINES
@given(data=st.data())
def test_what_an_engine_allows_is_taken(datastore: str, version: str, data: st.DataObject) -> None:
    rules = load(datastore, version)
    rule = data.draw(st.sampled_from(sorted(rules.parameters.values(), key=lambda r: r.name)))
    assume(not rule.read_only)
    value: object
    if rule.allowed:
        value = data.draw(st.sampled_from(rule.allowed))
    elif rule.type is ParameterType.BOOLEAN:
        value = data.draw(st.booleans())
    elif rule.type is ParameterType.STRING:
        assume(rule.pattern is not None)
        value = data.draw(st.from_regex(f"(?:{rule.pattern})", fullmatch=True))
    else:
        low = math.ceil(rule.min if rule.min is not None else 0)
        high = math.floor(rule.max) if rule.max is not None else low + 10**6
        value = data.draw(st.integers(low, high))
    assert rules.check({rule.name: value})[rule.name] == value


def accepted(rule: Parameter) -> st.SearchStrategy[object]:
    """Values that the rule accepts, as people write them."""
    if rule.allowed:
        return st.sampled_from(rule.allowed).flatmap(
            lambda word: st.sampled_from([word, word.lower(), word.upper()])
        )
    if rule.type is ParameterType.BOOLEAN:
        return st.sampled_from([True, False, "on", "OFF", "Yes", "no", 0, 1, "1", "true"])
    if rule.type is ParameterType.STRING:
        return st.text("abc xyz", max_size=9) if rule.pattern is None else st.just(rule.default)
    low = math.ceil(rule.min if rule.min is not None else 0)
    numbers = st.integers(low, math.floor(rule.max if rule.max is not None else low + 10**6))
    if rule.type is ParameterType.SIZE:
        return numbers.flatmap(lambda n: st.sampled_from([n, str(n), size_text(n), f" {n}"]))
    return numbers.flatmap(lambda n: st.sampled_from([n, str(n), float(n) if n < 2**50 else n]))


def spelt(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name.upper(), name.replace("_", "-"), name.replace("-", "_")])


@ENGINES
@given(data=st.data())
def test_any_spelling_has_one_normal_form(
    datastore: str, version: str, data: st.DataObject
) -> None:
    rules = load(datastore, version)
    open_ones = [rule for rule in rules.parameters.values() if not rule.read_only]
    chosen = data.draw(st.lists(st.sampled_from(open_ones), max_size=9, unique_by=id))
    values = {
        data.draw(spelt(rule.name)): data.draw(accepted(rule))
        for rule in chosen
        if rule.name != "port"
    }
    normal = rules.check(values)
    assert list(normal) == sorted(rule.name for rule in chosen if rule.name != "port")
    assert rules.check(normal) == normal
    for value in normal.values():
        assert type(value) in (bool, int, float, str)
    again = json.loads(json.dumps(normal))
    assert {name: (type(value), value) for name, value in rules.check(again).items()} == {
        name: (type(value), value) for name, value in normal.items()
    }


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@ENGINES
@given(data=st.data())
def test_what_is_refused_names_its_key(datastore: str, version: str, data: st.DataObject) -> None:
    rules = load(datastore, version)
    names = st.sampled_from(sorted(rules.parameters)) | st.text(max_size=40)
    name = data.draw(names)
    known = rules.find(name)
    try:
        rules.check({name: data.draw(ANYTHING)})
    except UserError as error:
        message = error.message
    else:
        assert known is not None
        assert not known.read_only
        return
    assert len(message) <= 1024
    assert len(message.splitlines()) == 1
    assert (repr(name) if known is None else known.name) in message


def test_a_port_of_the_agents_is_refused_with_the_reason() -> None:
    for datastore, version in (("mariadb", "10.11"), ("redis", "7.0")):
        rules = load(datastore, version)
        assert rules.check({"port": "3307"}) == {"port": 3307}
        assert "the agent listens there" in refused(rules.get("port"), 8443)
        assert "the agent answers probes there" in refused(rules.get("port"), "8080")
        assert "from 1024 to 65535" in refused(rules.get("port"), 80)
        assert rules.restart_required(["PORT", "timeout"]) == ("port",)


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(UserError) as caught:
        load("redis", "7.0").check({"requirepass": "hunter2"})
    assert caught.value.message == "requirepass cannot be set: users have passwords of their own"


def test_a_parameter_named_twice_is_a_mistake() -> None:
    entry = {"name": "a", "type": "integer", "description": "A.", "restart_required": False}
    with pytest.raises(ValueError, match="twice"):
        parse_rules(json.dumps({"configuration-parameters": [entry, entry]}))


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"type": "enum"}, "needs its allowed values"),
        ({"type": "integer", "pattern": "a"}, "a pattern is for a string"),
        ({"type": "string", "min": 1}, "min and max are for numbers"),
        ({"type": "duration"}, "a unit is for a duration"),
        ({"type": "integer", "min": 2, "max": 1}, "min 2 is above max 1"),
        ({"type": "integer", "default": "1"}, "not in its normal form"),
        ({"type": "string", "pattern": "("}, "is no regular expression"),
    ],
)
def test_a_rule_that_contradicts_itself_is_a_mistake(entry: dict[str, Any], says: str) -> None:
    common = {"name": "a", "description": "A.", "restart_required": False}
    with pytest.raises(ValueError, match=says):
        parse_rules(json.dumps({"configuration-parameters": [common | entry]}))


def test_two_spellings_are_one_parameter() -> None:
    with pytest.raises(ValueError, match="are one parameter"):
        Rules({name: parameter("integer", name=name) for name in ("a_b", "A-b")})


def test_an_engine_without_rules() -> None:
    with pytest.raises(Permanent, match=r"no validation-rules.json for oracle 23"):
        load("oracle", "23")
