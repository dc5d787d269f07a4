"""What the engine is to do, as it was asked for, and the tokens of the requests.

Kept on the volume and written before anything is done about it: an agent that dies in the middle
finds here what it was asked, and in the launcher how far that got. Transitions are pure.
"""

import logging
from pathlib import Path
from typing import Final

from pydantic import BaseModel, ConfigDict, ValidationError

from coffer_common.wire import EngineAction
from coffer_guest.files import write_durably

_log = logging.getLogger(__name__)

_REMEMBERED: Final = 32  # tokens; a duplicate comes within seconds of the first


class Intent(BaseModel):
    """The engine is to run or not, and maybe to be restarted first."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    running: bool = True
    restart: str | None = None  # token of a restart that is not done yet
    restarted_for: str | None = None  # token of the last one that is
    tokens: tuple[str, ...] = ()  # of requests that were accepted, the newest last


def accept(intent: Intent, action: EngineAction, token: str) -> Intent:
    """The intent after a request; the same one where the token was seen before."""
    if token in intent.tokens or action is EngineAction.RESET:
        return intent
    change: dict[str, object] = {"tokens": (*intent.tokens, token)[-_REMEMBERED:]}
    if action is EngineAction.START:
        change["running"] = True
    elif action is EngineAction.STOP:
        change |= {"running": False, "restart": None}
    else:
        change |= {"running": True, "restart": token}
    return intent.model_copy(update=change)


def restart_done(intent: Intent) -> Intent:
    """The intent once the restart that it asks for has been done."""
    return intent.model_copy(update={"restart": None, "restarted_for": intent.restart})


def read(path: Path) -> Intent:
    """The stored intent; the first one where there is none. Raises OSError."""
    try:
        return Intent.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Intent()
    except ValidationError as error:
        _log.warning("%s cannot be understood, as if nothing was asked for: %s", path, error)
        return Intent()


def write(path: Path, intent: Intent) -> None:
    write_durably(path, intent.model_dump_json().encode())
