"""Patches of status: the smallest that does it, and none where nothing differs."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coffer_operator.act.status import canonical, merge_patch

VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text("ab", max_size=2)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
STATUSES = st.dictionaries(st.sampled_from("abcd"), VALUES, max_size=4)


def merged(present: Any, patch: Any) -> Any:
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    result = dict(present) if isinstance(present, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


@given(STATUSES, STATUSES)
def test_the_patch_leads_from_one_to_the_other(
    present: dict[str, Any], wanted: dict[str, Any]
) -> None:
    patch = merge_patch(present, wanted)
    if patch is None:
        assert canonical(present) == canonical(wanted)
    else:
        assert canonical(merged(canonical(present), patch)) == canonical(wanted)


def test_only_what_differs_is_sent() -> None:
    present = {"phase": "Building", "volume": {"size": "1Gi", "usedBytes": 1}, "old": "x"}
    wanted = {"phase": "Active", "volume": {"size": "1Gi", "usedBytes": 2}}
    assert merge_patch(present, wanted) == {
        "phase": "Active",
        "volume": {"usedBytes": 2},
        "old": None,
    }


def test_absent_null_and_empty_say_the_same_and_zero_does_not() -> None:
    assert merge_patch({}, {"a": None, "b": [], "c": {}}) is None
    assert merge_patch({}, {"a": 0, "b": "", "c": False}) == {"a": 0, "b": "", "c": False}
