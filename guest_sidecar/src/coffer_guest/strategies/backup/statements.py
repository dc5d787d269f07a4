"""Some databases out of a dump of mariadb-dump: statements are told apart while they pass.

A dump goes through its databases with `CREATE DATABASE` and `USE`, and where there are views once
more with `USE`, always between two statements. What stands in a string, a comment or the body of a
routine only looks like that: so all of it is read as the client reads it (quotes, comments,
DELIMITER), and what is found has to be what the manifest lists, in its order. Pure; nothing is kept
but the beginning of a token that is not whole yet.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from coffer_common.errors import UserError
from coffer_guest.pipeline.codec import Buffer
from coffer_guest.pipeline.process import Sink
from coffer_guest.pipeline.stop import Stop

_HEAD_BYTES: Final = 4096  # of a statement: names a database, or nothing that counts
_SPACE: Final = re.compile(rb"\s*+")
# Possessive throughout: neither memory nor time for a way back.
_PLAIN: Final = re.compile(
    rb"""(?: [^'"`;\#/\-]++
           | '(?:[^'\\]++|\\.)*+' | "(?:[^"\\]++|\\.)*+" | `[^`]*+`
           | -(?=[^\-]) | /(?=[^*]) )*+""",
    re.DOTALL | re.VERBOSE,
)
_QUOTED: Final = {
    b"'": re.compile(rb"(?:[^'\\]++|\\.)*+", re.DOTALL),
    b'"': re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL),
    b"`": re.compile(rb"[^`]*+"),
}
_NAME: Final = rb"`((?:[^`]|``)+)`"
_CREATE: Final = re.compile(rb"CREATE DATABASE (?:/\*!32312 IF NOT EXISTS\*/ )?" + _NAME)
_USE: Final = re.compile(rb"USE " + _NAME + rb";")
_DELIMITER: Final = re.compile(rb"DELIMITER\s+(\S+)", re.IGNORECASE)
#: In what follows, strings would end elsewhere.
_MODE: Final = re.compile(rb"\S+ SET sql_mode\s+= '[^']*NO_BACKSLASH_ESCAPES")
_EXECUTED: Final = (b"/*!", b"/*M!")  # no comments to the server
_START, _BODY, _LINE, _BLOCK = "start", "body", "line", "block"


class Selection:
    """A dump in pieces of any size, to what is of the wanted databases; `held` are all of it.

    What precedes the first database belongs to each of them.
    """

    def __init__(self, wanted: Collection[str], held: Sequence[str]) -> None:
        self._wanted = frozenset(wanted)
        self._held = tuple(held)
        self._made: list[str] = []
        self._used: list[str] = []
        self._views: list[str] = []  # databases of the second round
        self._keep = True
        self._delimiter = b";"
        self._state: str | bytes = _START  # or the quote that it is in
        self._after: str = _START  # the comment
        self._buffer = b""
        self._at = 0
        self._mark = 0  # from here on to be passed on, or not
        self._final = False

    def feed(self, data: Buffer) -> Iterator[bytes]:
        """The next piece. Raises UserError for a dump that cannot be taken apart."""
        self._buffer += bytes(data)
        return self._run()

    def end(self) -> Iterator[bytes]:
        """There is no more. Raises UserError unless all databases were met, in order."""
        self._final = True
        yield from self._run()
        held = list(self._held)
        met = self._made == self._used == held and self._views in ([], held)
        if self._state != _START or not met:
            found = self._used + self._views
            raise _indivisible(f"its databases are {', '.join(held)}, and {found} were met")

    def _run(self) -> Iterator[bytes]:
        while self._at < len(self._buffer):
            before, keep = self._mark, self._keep
            if not self._step():
                break
            if self._mark != before and keep:  # another database begins
                yield self._buffer[before : self._mark]
        if self._keep and self._at > self._mark:
            yield self._buffer[self._mark : self._at]
        self._buffer, self._at, self._mark = self._buffer[self._at :], 0, 0

    def _step(self) -> bool:
        """One token further; False: it needs more to tell what that is."""
        if self._state == _START:
            return self._begin()
        if self._state == _BODY:
            return self._go_on()
        if self._state == _LINE:
            return self._to(b"\n")
        if self._state == _BLOCK:
            return self._to(b"*/")
        return self._quoted()

    def _lacks(self, wanted_bytes: int) -> bool:
        return not self._final and len(self._buffer) - self._at < wanted_bytes

    # --- between statements ----------------------------------------------------------------------
    def _begin(self) -> bool:
        found = _SPACE.match(self._buffer, self._at)
        self._at = found.end() if found else self._at
        if self._at == len(self._buffer):
            return True
        end = self._buffer.find(b"\n", self._at, self._at + _HEAD_BYTES)
        if end < 0 and self._lacks(_HEAD_BYTES):
            return False
        if self._comment():
            return True
        head = self._buffer[self._at : end if end >= 0 else self._at + _HEAD_BYTES]
        if (delimiter := _DELIMITER.match(head)) is not None:
            self._delimiter = delimiter[1]
            self._at += len(head)
            return True
        if _MODE.match(head) is not None:
            raise _indivisible("it holds something that was made with NO_BACKSLASH_ESCAPES")
        if self._delimiter == b";":
            self._look(head)
        self._state = _BODY
        return True

    def _look(self, head: bytes) -> None:
        """Whether what follows is of another database."""
        if (created := _CREATE.match(head)) is not None:
            if self._made != self._used or self._views:
                raise _indivisible(f"database {_name(created[1])} is made where none should be")
            self._made.append(_name(created[1]))
            self._change(self._made[-1])
        elif (used := _USE.match(head)) is not None:
            name = _name(used[1])
            if len(self._used) < len(self._made):
                self._used.append(name)
            else:
                self._views.append(name)
            self._change(name)

    def _change(self, name: str) -> None:
        self._keep, self._mark = name in self._wanted, self._at

    # --- in statements ---------------------------------------------------------------------------
    def _go_on(self) -> bool:
        found = _PLAIN.match(self._buffer, self._at)
        self._at = found.end() if found else self._at
        if self._at == len(self._buffer):
            return True
        byte = self._buffer[self._at : self._at + 1]
        if byte in _QUOTED:
            self._state = byte
        elif self._lacks(max(4, len(self._delimiter))):
            return False
        elif self._buffer.startswith(self._delimiter, self._at):
            self._at += len(self._delimiter)
            self._state = _START
            return True
        elif self._comment():
            return True
        self._at += 1
        return True

    def _comment(self) -> bool:
        """Whether a comment begins here; then it is in it."""
        four = self._buffer[self._at : self._at + 4]
        if four[:1] == b"#" or (four[:2] == b"--" and not four[2:3].strip()):
            kind = _LINE
        elif four[:2] == b"/*" and not four.startswith(_EXECUTED):
            kind = _BLOCK
            self._at += 2
        else:
            return False
        self._after = _BODY if self._state == _BODY else _START
        self._state = kind
        return True

    def _to(self, end: bytes) -> bool:
        """To the end of a comment."""
        found = self._buffer.find(end, self._at)
        if found >= 0:
            self._at, self._state = found + len(end), self._after
            return True
        self._at = max(self._at, len(self._buffer) - (0 if self._final else len(end) - 1))
        return self._at == len(self._buffer)

    def _quoted(self) -> bool:
        quote = bytes(self._state) if isinstance(self._state, bytes) else b""
        found = _QUOTED[quote].match(self._buffer, self._at)
        self._at = found.end() if found else self._at
        if self._at == len(self._buffer):
            return True
        if self._buffer[self._at : self._at + 1] != quote:
            return False  # the half of an escape
        self._at += 1
        self._state = _BODY
        return True


class Selected(Sink):
    """Passes on what is of some databases."""

    def __init__(self, sink: Sink, selection: Selection) -> None:
        self._sink = sink
        self._selection = selection

    def write(self, data: Buffer, stop: Stop) -> None:
        for piece in self._selection.feed(data):
            self._sink.write(piece, stop)

    def finish(self, stop: Stop) -> None:
        for piece in self._selection.end():
            self._sink.write(piece, stop)
        self._sink.finish(stop)

    def kill(self) -> None:
        self._sink.kill()


def _name(quoted: bytes) -> str:
    return quoted.replace(b"``", b"`").decode(errors="replace")


def _indivisible(why: str) -> UserError:
    return UserError(
        "DumpIndivisible",
        f"single databases cannot be taken out of this dump: {why}; load all of it",
    )
