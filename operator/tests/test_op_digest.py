"""Digests: equal for what is as wanted, different for whatever an apply would mend."""

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from coffer_operator.build.digest import digest, live_digest, owned

SERVICE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop", "namespace": "a", "labels": {"x": "1"}},
    "spec": {"ports": [{"port": 3306, "targetPort": 3306}], "selector": {"app": "shop"}},
}
FIELDS: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:x": {}}},
    "f:spec": {
        "f:ports": {
            'k:{"port":3306,"protocol":"TCP"}': {".": {}, "f:port": {}, "f:targetPort": {}}
        },
        "f:selector": {},
    },
}


def live(**changes: Any) -> dict[str, Any]:
    """The Service as a server shows it: defaults, other managers, and what we own."""
    obj = copy.deepcopy(SERVICE)
    obj["metadata"] |= {
        "uid": "u",
        "resourceVersion": "7",
        "labels": {"x": "1", "theirs": "2"},
        "managedFields": [
            {"manager": "kubectl", "operation": "Update", "fieldsV1": {"f:metadata": {}}},
            {"manager": "coffer", "operation": "Update", "fieldsV1": {"f:status": {}}},
            {"manager": "coffer", "operation": "Apply", "fieldsV1": FIELDS},
        ],
    }
    obj["spec"] |= {"clusterIP": "10.0.0.1", "type": "ClusterIP"}
    obj["spec"]["ports"] = [
        {"port": 9104, "protocol": "TCP"},
        {"port": 3306, "targetPort": 3306, "protocol": "TCP"},
    ]
    return obj | changes


def test_what_others_set_and_what_the_server_fills_in_does_not_count() -> None:
    assert live_digest(live(), "coffer") == digest(SERVICE)


def test_identity_and_preconditions_do_not_count() -> None:
    other = copy.deepcopy(SERVICE)
    other["metadata"] |= {"name": "else", "namespace": "b", "resourceVersion": "1", "uid": "u"}
    assert digest(other) == digest(SERVICE)


def test_a_changed_value_counts() -> None:
    edited = live()
    edited["spec"]["ports"][1]["targetPort"] = 1
    assert live_digest(edited, "coffer") != digest(SERVICE)


def test_a_field_that_we_lost_to_another_manager_counts() -> None:
    edited = live()
    fields = copy.deepcopy(FIELDS)
    del fields["f:spec"]["f:selector"]
    edited["metadata"]["managedFields"][2]["fieldsV1"] = fields
    assert live_digest(edited, "coffer") != digest(SERVICE)


def test_an_object_that_we_never_applied_has_nothing_of_ours() -> None:
    assert owned({"metadata": {"name": "x"}}, "coffer") == {}


def test_items_of_sets_are_taken_by_value() -> None:
    obj = {
        "metadata": {
            "finalizers": ["theirs", "ours"],
            "managedFields": [
                {
                    "manager": "coffer",
                    "operation": "Apply",
                    "fieldsV1": {"f:metadata": {"f:finalizers": {'v:"ours"': {}}}},
                }
            ],
        }
    }
    assert owned(obj, "coffer") == {"metadata": {"finalizers": ["ours"]}}


def test_an_entry_for_a_subresource_is_not_ours_to_compare() -> None:
    obj = live()
    obj["metadata"]["managedFields"].append(
        {"manager": "coffer", "operation": "Apply", "subresource": "status", "fieldsV1": {}}
    )
    assert live_digest(obj, "coffer") == digest(SERVICE)


SCALARS = st.one_of(st.text(max_size=5), st.integers(-5, 5), st.booleans())
NAMES = st.text("abcdef", min_size=1, max_size=3)
CONTENT = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        st.lists(SCALARS, max_size=3),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda items: [{"name": f"n{i}", "value": item} for i, item in enumerate(items)]
        ),
    ),
    max_leaves=12,
)
OBJECTS = st.dictionaries(NAMES, CONTENT, min_size=1, max_size=4)


def fields_of(value: Any) -> dict[str, Any]:
    """What a server would say we own after we applied this: maps and lists of names merge."""
    if isinstance(value, dict) and value:
        return {f"f:{key}": fields_of(inner) for key, inner in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {
            f"k:{json.dumps({'name': item['name']})}": {".": {}} | fields_of(item) for item in value
        }
    return {}


def with_theirs(value: Any) -> Any:
    """The same, with fields and items of others beside ours."""
    if isinstance(value, dict) and value:
        return {key: with_theirs(inner) for key, inner in value.items()} | {"theirs": 1}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [{"name": "theirs"}, *(with_theirs(item) for item in value)]
    return value


def applied(content: dict[str, Any]) -> dict[str, Any]:
    entry = {"manager": "coffer", "operation": "Apply", "fieldsV1": {"f:spec": fields_of(content)}}
    return {"metadata": {"managedFields": [entry]}, "spec": with_theirs(content)}


@given(OBJECTS)
def test_whatever_is_applied_is_found_again_among_others(content: dict[str, Any]) -> None:
    assert live_digest(applied(content), "coffer") == digest({"spec": content})


@given(OBJECTS, OBJECTS)
def test_different_contents_have_different_digests(
    one: dict[str, Any], two: dict[str, Any]
) -> None:
    same_text = json.dumps(one, sort_keys=True) == json.dumps(two, sort_keys=True)
    assert (digest(one) == digest(two)) == same_text


@given(OBJECTS)
def test_order_of_keys_and_nulls_do_not_count(content: dict[str, Any]) -> None:
    other = dict(reversed(content.items())) | {"absent": None}
    assert digest(other) == digest(content)
