"""Single databases out of a dump: what belongs to them, and nothing that only looks like that."""

import re
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coffer_common.errors import UserError
from coffer_guest.pipeline.stop import Stop
from coffer_guest.strategies.backup.statements import Selected, Selection
from guest_backups import BytesSink

HEAD = (
    b"/*M!999999\\- enable the sandbox mode */ \n-- MariaDB dump\n/*!40101 SET NAMES utf8mb4 */;\n"
)
FOOT = b"/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;\n-- Dump completed\n"


def begin(name: bytes) -> bytes:
    quoted = name.replace(b"`", b"``")
    return (
        b"\n--\n-- Current Database: `" + quoted + b"`\n--\n\n"
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `" + quoted + b"`"
        b" /*!40100 DEFAULT CHARACTER SET utf8mb4 */;\n\nUSE `" + quoted + b"`;\n"
    )


LURE = begin(b"a")
CONTENTS = {
    "plain": b"INSERT INTO `t` VALUES (1,'x;y'),(-1,\"--\"),(2,'it\\'s'),(3,'''');\n",
    "string": b"INSERT INTO `t` VALUES ('" + LURE + b"');\n",
    "name": b"CREATE TABLE `x\n" + LURE.replace(b"`", b"") + b"` (`a` int);\n",
    "routine": b"DELIMITER ;;\nCREATE PROCEDURE p()\nBEGIN SELECT 1;\n" + LURE + b"END ;;\n"
    b"DELIMITER ;\n",
    "comment": b"DELIMITER ;;\n/*!50003 CREATE*/ /*!50020 TRIGGER t BEGIN\n# it's\n-- isn't \"it\n"
    b"/* `neither */ SET @a = 1 / 2 - 3; END */;;\nDELIMITER ;\n",
    "comment lure": b"/* it's\nUSE `a`;\n#*/ SELECT 1;\n",
    "arithmetic": b"SELECT 1 - 2, 4/2, 5--6, 7;\n",
    "long": b"INSERT INTO `t` VALUES ('" + b"q\\\\" * 3000 + b"');\n",
}


def dump(*sections: tuple[bytes, bytes]) -> bytes:
    return HEAD + b"".join(begin(name) + content for name, content in sections) + FOOT


def taken(
    text: bytes, wanted: Sequence[str], held: Sequence[str], sizes: Sequence[int] = (1 << 20,)
) -> bytes:
    sink = BytesSink()
    selected = Selected(sink, Selection(wanted, held))
    with Stop() as stop:
        at = number = 0
        while at < len(text):
            size = sizes[number % len(sizes)]
            selected.write(memoryview(text)[at : at + size], stop)
            at, number = at + size, number + 1
        selected.finish(stop)
    return bytes(sink.data)


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS.keys())
@pytest.mark.parametrize("size", [1, 2, 3, 7, 4096, 1 << 20])
def test_one_database_comes_whole_and_alone(content: bytes, size: int) -> None:
    held = ["a", "b", "c`d"]
    text = dump((b"a", b"SELECT 'a';\n"), (b"b", content), (b"c`d", b"SELECT 'c';\n"))
    for wanted, section in (
        ("b", begin(b"b") + content),
        ("a", begin(b"a") + b"SELECT 'a';\n"),
        ("c`d", begin(b"c`d") + b"SELECT 'c';\n" + FOOT),
    ):
        found = taken(text, [wanted], held, (size,))
        begun = section.index(b"CREATE DATABASE")
        assert found.startswith(HEAD), "how the session is set up is for all"
        assert section[begun:] in found
        rest = found[len(HEAD) :].replace(section[begun:], b"")
        assert re.fullmatch(rb"(\s*--[^\n]*\n)*\s*", rest), rest


def again(name: bytes) -> bytes:
    """Where the views of a database begin."""
    return b"\n--\n-- Current Database: `" + name + b"`\n--\n\nUSE `" + name + b"`;\n"


def test_views_are_of_their_database() -> None:
    views = b"".join(again(n) + b"CREATE VIEW v AS SELECT '%b';\n" % n for n in (b"a", b"b"))
    text = dump((b"a", b""), (b"b", b""))[: -len(FOOT)] + views + FOOT
    found = taken(text, ["b"], ["a", "b"])
    assert b"SELECT 'b'" in found
    assert b"SELECT 'a'" not in found
    assert found.count(b"USE `b`;") == 2
    assert b"USE `a`" not in found


def test_several_and_all() -> None:
    sections = [(name.encode(), CONTENTS["plain"]) for name in "abc"]
    text = dump(*sections)
    assert taken(text, ["a", "b", "c"], ["a", "b", "c"]) == text
    found = taken(text, ["a", "c"], ["a", "b", "c"])
    assert b"USE `a`" in found
    assert b"USE `c`" in found
    assert b"USE `b`" not in found


@given(
    st.lists(st.sampled_from(sorted(CONTENTS)), min_size=2, max_size=5),
    st.lists(st.integers(1, 400), min_size=1, max_size=4),
    st.data(),
)
def test_it_does_not_matter_how_it_comes(
    kinds: list[str], sizes: list[int], data: st.DataObject
) -> None:
    names = [f"d{number}" for number in range(len(kinds))]
    text = dump(*((n.encode(), CONTENTS[k]) for n, k in zip(names, kinds, strict=True)))
    wanted = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    assert taken(text, wanted, names, sizes) == taken(text, wanted, names)


@pytest.mark.parametrize(
    "text",
    [
        dump((b"a", b"")),
        dump((b"a", b""), (b"b", b""), (b"c", b"")),
        dump((b"a", b""), (b"b", b""), (b"b", b"")),
        dump((b"a", b"USE `b`;\n"), (b"b", b"")),
        dump((b"b", b""), (b"a", b"")),
        dump((b"a", b""), (b"b", again(b"a"))),
        dump((b"a", b""), (b"b", again(b"b") + again(b"a"))),
        dump((b"a", b"DELIMITER ;;\n/*!50003 SET sql_mode   = 'X,NO_BACKSLASH_ESCAPES' */ ;;\n")),
        dump((b"a", b"CREATE DATABASE `b`;\n"), (b"b", b"")),
        dump((b"a", b"SELECT 'unended;\n"), (b"b", b"")),
        dump((b"a", b""), (b"b", b""))[:-20],
        dump((b"a", b""), (b"b", b"")) + b"SELECT '\\",
        dump((b"a", b"/*!50003 SET sql_mode = 'NO_BACKSLASH_ESCAPES' */ ;\n"), (b"b", b"")),
        HEAD,
        b"",
    ],
)
def test_what_is_not_as_its_manifest_says_is_refused(text: bytes) -> None:
    with pytest.raises(UserError, match="load all of it") as caught:
        taken(text, ["b"], ["a", "b"])
    assert caught.value.reason == "DumpIndivisible"
