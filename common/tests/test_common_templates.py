import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common import templates
from coffer_common.errors import Permanent
from coffer_common.rules import load
from coffer_common.templates import find, render, templates_folder
from coffer_common.wire import FlavorSize

MIB = 1024**2
FLAVORS = st.builds(
    FlavorSize,
    ram_bytes=st.integers(128 * MIB, 1024**4),
    vcpus=st.floats(0.001, 256, allow_nan=False),
)
UNIT = {"M": MIB, "K": 1024, "": 1}


def directives(text: str, separator: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines()]
    pairs = [
        re.split(separator, line, maxsplit=1)
        for line in lines
        if line and not line.startswith(("#", "["))
    ]
    return {pair[0]: pair[1] for pair in pairs}


def size_bytes(text: str) -> int:
    match = re.fullmatch(r"([0-9]+)([KM]?)", text)
    assert match
    return int(match[1]) * UNIT[match[2]]


@given(FLAVORS)
def test_mariadb_fits_its_flavor(flavor: FlavorSize) -> None:
    values = directives(render("mariadb", "10.11", flavor, extra={"server_id": 7}), r"\s*=\s*")
    caches = sum(
        size_bytes(values[name])
        for name in (
            "innodb_buffer_pool_size",
            "innodb_log_buffer_size",
            "aria_pagecache_buffer_size",
            "key_buffer_size",
        )
    )
    # measured: an idle connection takes 60 KiB, one that sorts and joins 1.5 MiB at its peak
    connections = int(values["max_connections"])
    assert caches + connections * 60 * 1024 < 0.75 * flavor.ram_bytes
    assert connections >= 10
    assert values["performance_schema"] == "OFF"
    assert values["server_id"] == "7"


def test_mariadb_tiny_is_the_books_arithmetic() -> None:
    tiny = FlavorSize(ram_bytes=512 * MIB, vcpus=0.25)
    values = directives(render("mariadb", "10.11", tiny), r"\s*=\s*")
    assert values["max_connections"] == "100"
    assert values["innodb_buffer_pool_size"] == "153M"
    assert "server_id" not in values


@given(FLAVORS, FLAVORS)
def test_more_memory_is_never_a_smaller_pool(one: FlavorSize, other: FlavorSize) -> None:
    small, large = sorted((one, other), key=lambda flavor: flavor.ram_bytes)
    pools = [
        size_bytes(
            directives(render("mariadb", "10.11", flavor), r"\s*=\s*")["innodb_buffer_pool_size"]
        )
        for flavor in (small, large)
    ]
    assert pools[0] <= pools[1]


@given(FLAVORS)
def test_redis_leaves_room_for_the_copy_of_a_rewrite(flavor: FlavorSize) -> None:
    values = directives(render("redis", "7.0", flavor), r"\s+")
    match = re.fullmatch(r"([0-9]+)mb", values["maxmemory"])
    assert match
    assert 0.55 * flavor.ram_bytes < int(match[1]) * MIB + MIB <= 0.6 * flavor.ram_bytes + MIB
    assert values["appendonly"] == "yes"
    assert values["save"] == '""'


@pytest.mark.parametrize(
    ("datastore", "version", "separator"),
    [("mariadb", "10.11", r"\s*=\s*"), ("redis", "7.0", r"\s+")],
)
@given(flavor=FLAVORS)
def test_the_template_obeys_the_rules(
    datastore: str, version: str, separator: str, flavor: FlavorSize
) -> None:
    rules = load(datastore, version)
    for name, value in directives(render(datastore, version, flavor), separator).items():
        rule = rules.parameters[name]
        if not rule.read_only:
            rule.check("" if value == '""' else value)


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(templates, "_PACKAGED", tmp_path)
    return tmp_path


def test_the_most_specific_folder_wins(tree: Path) -> None:
    wanted = ["db/10.11.19", "db/10.11", "db/10", "db"]
    for folder in reversed(wanted):
        (tree / folder).mkdir(parents=True, exist_ok=True)
        (tree / folder / "config.template").write_text(folder)
        assert find("db", "10.11.19", "config.template").parent == tree / folder
    assert find("db", "11.4", "config.template").parent == tree / "db"


def test_a_template_sees_its_context(tree: Path) -> None:
    (tree / "db").mkdir()
    (tree / "db" / "config.template").write_text(
        "{{ flavor.ram }} {{ flavor.vcpus }} {{ datastore.name }} {{ datastore.version }} {{ x }}\n"
    )
    flavor = FlavorSize(ram_bytes=3 * MIB + 5, vcpus=0.5)
    assert render("db", "1", flavor, extra={"x": "y"}) == "3 0.5 db 1 y\n"
    with pytest.raises(Permanent, match="'x' is undefined"):
        render("db", "1", flavor)


@pytest.mark.parametrize("version", ["..", "../mariadb", "", "a/b", ".hidden"])
def test_no_name_leads_out_of_the_folder(version: str) -> None:
    with pytest.raises(Permanent, match="is no name of"):
        find("mariadb", version, "config.template")


def test_the_tree_has_the_templates() -> None:
    assert (templates_folder() / "mariadb" / "config.template").is_file()
    with pytest.raises(Permanent, match=r"no config\.template for oracle 23"):
        find("oracle", "23", "config.template")
