"""What users type, and the manifest that follows."""

import contextlib
from dataclasses import replace
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_cli.app import Duration
from coffer_cli.errors import CliError, Exit
from coffer_cli.syntax import (
    UserArgument,
    Wish,
    instance_manifest,
    operation_manifest,
    parse_datastore,
    parse_user,
)
from coffer_common.resources.instance import InstanceSpec
from coffer_common.resources.operation import OperationSpec, OperationType

WORD = st.text("abcXYZ09_-.%", min_size=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60", 60), ("0.2", 0.2), ("60s", 60), ("2m", 120), ("1h30m", 5400), ("500ms", 0.5)],
)
def test_durations_are_written_as_for_kubectl(text: str, seconds: float) -> None:
    assert Duration().convert(text, None, None) == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "-1s", "s", "5 s", "5x", "1h 30m", "nan", "1m30"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Duration().convert(text, None, None)


PLAIN = Wish("orders", "shop", "mariadb", "small", "10Gi")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", UserArgument("app", None, None)),
        ("app@%", UserArgument("app", "%", None)),
        ("app@10.0.%=shop,blog", UserArgument("app", "10.0.%", ("shop", "blog"))),
        ("app=", UserArgument("app", None, ())),
        ("a@b@c", UserArgument("a@b", "c", None)),
        ("app=x@y", UserArgument("app", None, ("x@y",))),
    ],
)
def test_users(text: str, expected: UserArgument) -> None:
    assert parse_user(text) == expected


@pytest.mark.parametrize("text", ["", "@%", "app@", "=shop", "app@=shop"])
def test_users_that_are_none(text: str) -> None:
    with pytest.raises(CliError) as caught:
        parse_user(text)
    assert caught.value.code is Exit.USAGE
    assert text in caught.value.message


@given(WORD, st.none() | WORD, st.none() | st.lists(WORD))
def test_every_user_can_be_written(
    name: str, host: str | None, databases: list[str] | None
) -> None:
    text = name + (f"@{host}" if host else "")
    if databases is not None:
        text += "=" + ",".join(databases)
    expected = UserArgument(name, host, None if databases is None else tuple(databases))
    assert parse_user(text) == expected


@given(st.text())
def test_any_text_is_a_user_or_is_refused(text: str) -> None:
    with contextlib.suppress(CliError):
        assert parse_user(text).name


def test_datastores() -> None:
    assert parse_datastore("redis") == {"type": "redis"}
    assert parse_datastore("mariadb:10.11") == {"type": "mariadb", "version": "10.11"}
    for wrong in ("", ":10.11", "mariadb:"):
        with pytest.raises(CliError):
            parse_datastore(wrong)


def test_the_least_manifest_says_no_more_than_asked() -> None:
    assert instance_manifest(PLAIN) == {
        "apiVersion": "coffer.dev/v1alpha1",
        "kind": "DatabaseInstance",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "datastore": {"type": "mariadb"},
            "flavor": "small",
            "volume": {"size": "10Gi"},
        },
    }


def test_a_full_manifest_is_what_the_model_reads() -> None:
    made = instance_manifest(
        replace(
            PLAIN,
            datastore="mariadb:10.11",
            storage_class="fast",
            databases=("shop", "blog"),
            users=("app", "reader@10.0.%=blog", "nobody="),
            deletion_policy="Delete",
            deletion_protection=True,
        )
    )
    spec = InstanceSpec.model_validate(made["spec"])
    assert spec.model_dump(mode="json", by_alias=True, exclude_unset=True) == made["spec"]
    assert [user.databases for user in spec.users] == [("shop", "blog"), ("blog",), ()]
    assert spec.users[1].host == "10.0.%"
    assert spec.deletion_protection


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ({"name": "orders-rw"}, "-rw"),
        ({"name": "Orders"}, "DNS label"),
        ({"volume": "ten"}, "spec.volume.size"),
        ({"deletion_policy": "Perhaps"}, "spec.deletionPolicy"),
        ({"databases": ("x" * 65,)}, "spec.databases[0].name"),
    ],
)
def test_mistakes_are_told_without_a_round_trip(more: dict[str, Any], part: str) -> None:
    with pytest.raises(CliError) as caught:
        instance_manifest(replace(PLAIN, **more))
    assert caught.value.code is Exit.USAGE
    assert part in caught.value.message
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("what", "prefix"),
    [
        (OperationType.RESTART, "orders-restart-"),
        (OperationType.RESET_STATUS, "orders-reset-status-"),
    ],
)
def test_operations_end_and_go(what: OperationType, prefix: str) -> None:
    made = operation_manifest("orders", "shop", what, not_after="2026-01-01T00:00:00Z", ttl_s=60)
    assert made["metadata"] == {"generateName": prefix, "namespace": "shop"}
    spec = OperationSpec.model_validate(made["spec"])
    assert spec.ttl_seconds_after_finished == 60
    assert made["spec"]["notAfter"] == "2026-01-01T00:00:00Z"
    assert made["spec"]["type"] == what.value
