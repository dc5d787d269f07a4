"""The one retry policy of requests to the API server.

Repeating is safe for all of ours: reads, server-side applies, deletions by uid, patches with a
precondition; a create that was carried out unseen answers that the object exists.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from coffer_operator.kube.api import UnavailableError

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS: Final = 4
FIRST_BACKOFF_S: Final = 0.1
LONGEST_WAIT_S: Final = 5.0  # more than that is left to the queue, which keeps no worker waiting


async def with_retries(attempt: Callable[[], Awaitable[T]], rng: random.Random) -> T:
    """The first answer that is not UnavailableError.

    Waits as long as the server asks, or doubles its waits with jitter. Raises the last
    UnavailableError after ATTEMPTS, or at once where the server asks for more than
    LONGEST_WAIT_S; every other error at once.
    """
    for number in range(1, ATTEMPTS + 1):
        try:
            return await attempt()
        except UnavailableError as error:
            backoff_s = FIRST_BACKOFF_S * 2.0 ** (number - 1) * rng.uniform(0.5, 1.5)
            wait_s = max(backoff_s, error.retry_after_s or 0.0)
            if number == ATTEMPTS or wait_s > LONGEST_WAIT_S:
                raise
            log.debug("%s; again in %.2f s", error, wait_s)
            await asyncio.sleep(wait_s)
    raise AssertionError("unreachable: the last attempt returns or raises")
