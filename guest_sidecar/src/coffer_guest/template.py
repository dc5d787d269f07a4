"""The rendered template of the configuration in force: the lowest layer of an engine's parameters.

Rendered once for each datastore version and flavor, in a child process, beside other work.
"""

import asyncio
import json
import subprocess
import sys
from typing import Final

from coffer_common.errors import Permanent, Transient
from coffer_common.wire import FlavorSize, GuestConfig

_CHILD: Final = (sys.executable, "-m", "coffer_guest.template_child")
_TIMEOUT_S: Final = 30.0

_Key = tuple[str, str, FlavorSize]


class Template:
    """The latest text that was asked for, or the attempt to render it."""

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._text: asyncio.Task[str] | None = None

    def begin(self, config: GuestConfig) -> asyncio.Task[str]:
        """Render for `config`, unless that is done or under way."""
        key = (config.datastore, config.version, config.flavor)
        text = self._text
        if text is None or key != self._key or (text.done() and text.exception() is not None):
            self._key = key
            self._text = text = asyncio.create_task(asyncio.to_thread(render, config))
            text.add_done_callback(_note)
        return text

    async def text(self, config: GuestConfig) -> str:
        """The rendered template. Raises Permanent, Transient, OSError."""
        return await asyncio.shield(self.begin(config))


def _note(text: asyncio.Task[str]) -> None:
    """Nobody may ask for it any more, so nobody would see its error; that is in order."""
    if not text.cancelled():
        text.exception()


def render(config: GuestConfig) -> str:
    """The template for the flavor. Blocking. Raises Permanent, Transient, OSError."""
    message = config.model_dump(include={"datastore", "version", "flavor"})
    try:
        done = subprocess.run(  # noqa: S603 - an argv list without user input
            _CHILD,
            input=json.dumps(message),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Transient(f"the template is not rendered after {_TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        raise Permanent("".join(last) or f"rendering the template ended with {done.returncode}")
    return done.stdout
