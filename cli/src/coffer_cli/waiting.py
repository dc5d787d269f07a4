"""Following one object by a watch until it is as wanted, gone, or the time is over.

Never polls: what comes between two watches is read once. An API server that is away is waited
for, as long as there is time.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Final

from coffer_cli.api import Api, Kind, Object, is_missing
from coffer_cli.errors import ApiError, CliError, Exit, is_passing
from coffer_cli.judge import Outcome, View
from coffer_cli.progress import Progress

_BETWEEN_WATCHES_S: Final = 0.5  # so that a server that ends watches at once is not hammered
_LONGEST_WATCH_S: Final = 300.0


class TimeOverError(CliError):
    """The time given is over; what was asked for goes on."""


class Follower:
    """Watches objects until `timeout_s` after it was made. Time comes from outside."""

    def __init__(
        self,
        api: Api,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._api = api
        self._timeout_s = timeout_s
        self._clock = clock
        self._sleep = sleep
        self._deadline = clock() + timeout_s

    def until_done(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        judge: Callable[[Object], View],
        progress: Progress,
    ) -> Object:
        """The object once `judge` calls it done.

        Raises CliError when it failed or is gone, TimeOverError when the time is over.
        """
        view = View("Unknown", "nothing heard of it yet")
        try:
            for obj in self._states(kind, namespace, name, progress):
                if obj is None:
                    raise CliError(f"{kind.resource}/{name} was deleted while it was waited for")
                view = judge(obj)
                progress.show(view)
                if view.outcome is Outcome.FAILED:
                    raise CliError(f"{kind.resource}/{name}: {view.line}")
                if view.outcome is Outcome.DONE:
                    return obj
        except _OutOfTimeError:
            raise TimeOverError(
                f"{kind.resource}/{name}: still not done after {self._timeout_s:g} s "
                f"({view.line}); it goes on without this command",
                Exit.TIMED_OUT,
            ) from None
        raise AssertionError  # the states of an object have no end

    def until_gone(
        self, kind: Kind, namespace: str, name: str, uid: str, progress: Progress
    ) -> None:
        """Returns when the object with that uid exists no more. Raises TimeOverError, CliError.

        What the object's status says of its deletion is shown, and told when the time is over.
        """
        said = ""
        try:
            for obj in self._states(kind, namespace, name, progress):
                if obj is None or obj["metadata"].get("uid") != uid:
                    return
                said = _hindrance(obj)
                waits = said or f"waiting for {kind.resource}/{name} to go"
                progress.show(View("Deleting", waits))
        except _OutOfTimeError:
            why = f" ({said})" if said else ""
            raise TimeOverError(
                f"{kind.resource}/{name}: still there after {self._timeout_s:g} s{why}",
                Exit.TIMED_OUT,
            ) from None

    def _states(
        self, kind: Kind, namespace: str, name: str, progress: Progress
    ) -> Iterator[Object | None]:
        """The object now and after every change, without end; None while it does not exist."""
        while True:
            try:
                yield from self._watched(kind, namespace, name)
            except CliError as error:
                if isinstance(error, ApiError) and error.status == 410:
                    pass  # fell behind: read it anew
                elif is_passing(error):
                    progress.show(View("Waiting", error.message))
                else:
                    raise
            self._sleep(min(_BETWEEN_WATCHES_S, self._left_s()))

    def _watched(self, kind: Kind, namespace: str, name: str) -> Iterator[Object | None]:
        """One read and one watch from there on."""
        self._left_s()
        try:
            obj = self._api.get(kind, namespace, name)
        except ApiError as error:
            if not is_missing(error):
                raise
            yield None
            return
        yield obj
        version = str(obj["metadata"].get("resourceVersion", ""))
        limit_s = min(self._left_s(), _LONGEST_WATCH_S)
        events = self._api.watch(kind, namespace, name, version=version, timeout_s=limit_s)
        with contextlib.closing(events):
            for event, changed in events:
                if event != "BOOKMARK":
                    yield None if event == "DELETED" else changed
                self._left_s()

    def _left_s(self) -> float:
        left_s = self._deadline - self._clock()
        if left_s <= 0:
            raise _OutOfTimeError
        return left_s


def _hindrance(obj: Object) -> str:
    """What the operator says of a deletion; what the status said before it does not count."""
    status = obj.get("status") or {}
    return str(status.get("message") or "") if status.get("phase") == "Deleting" else ""


class _OutOfTimeError(Exception):
    """Inside this module: the deadline has passed."""
