"""Parameters of a running Redis: what they are, and setting them.

The server itself says which can be set: asked to set a parameter to two values at once, it refuses
either because there are two, or because it sets none. CONFIG SET takes all its values, or none.
"""

import re
from collections.abc import Collection, Mapping
from typing import Final

from coffer_common.errors import UserError
from coffer_common.wire import Value
from coffer_guest.engines.base import LiveOutcome, Refused, Setting
from coffer_guest.engines.redis.configuration import text_of
from coffer_guest.engines.redis.session import Reply, Session

_ARGUMENT: Final = re.compile(r"argument '([^']+)'\) - (.*)", re.DOTALL)
_STATIC: Final = ("can't set immutable config", "can't set protected config")


async def settings(session: Session, names: Collection[str]) -> dict[str, Setting]:
    """See Engine.settings."""
    wanted = sorted(names)
    texts = await _texts(session, wanted)
    known = [name for name in wanted if name in texts]
    questions = [("CONFIG", "SET", name, texts[name], name, texts[name]) for name in known]
    answers = await session.ask_each(questions)
    return {
        name: Setting(text=texts[name], dynamic=_is_dynamic(answer), own=True)
        for name, answer in zip(known, answers, strict=True)
    }


async def set_live(session: Session, changes: Mapping[str, Value | None]) -> LiveOutcome:
    """See Engine.set_live."""
    known = await settings(session, changes)
    static = {name for name in changes if name not in known or not known[name].dynamic}
    pairs = {
        name: text_of(value)
        for name, value in sorted(changes.items())
        if name not in static and value is not None
    }
    if pairs:
        words = [word for pair in pairs.items() for word in pair]
        try:
            await session.ask(("CONFIG", "SET", *words))
        except UserError as error:
            raise Refused(_refusal(error.message, pairs)) from error
    return LiveOutcome(await _texts(session, list(pairs)), frozenset(static))


async def _texts(session: Session, names: list[str]) -> dict[str, str]:
    if not names:
        return {}
    answer = await session.ask(("CONFIG", "GET", *names))
    words = [str(word) for word in answer] if isinstance(answer, list) else []
    return dict(zip(words[::2], words[1::2], strict=True))


def _is_dynamic(answer: Reply | UserError) -> bool:
    return isinstance(answer, UserError) and not any(why in answer.message for why in _STATIC)


def _refusal(text: str, pairs: Mapping[str, str]) -> str:
    found = _ARGUMENT.search(text)
    if found is None:
        return text
    name = found[1]
    return f"{name}: {pairs.get(name, '')!r} is refused: {found[2]}"
