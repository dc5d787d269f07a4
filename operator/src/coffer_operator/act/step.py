"""One step of a plan: named, and begun only while this operator may write.

Owns the form in which a failure leaves `act`.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from coffer_common.errors import CofferError, Transient
from coffer_operator.act.failure import StepError
from coffer_operator.kube.api import Kind


@dataclass(frozen=True)
class Steps:
    """Runs steps. `may_write` is asked before each: false ends the plan."""

    may_write: Callable[[], bool]

    async def step(
        self, name: str, work: Callable[[], Awaitable[None]], about: tuple[Kind, str] | None = None
    ) -> None:
        """Do the work; what it raises becomes a StepError with the step's name.

        `about` is the object that a conflict would be about.
        """
        try:
            if not self.may_write():
                raise Transient("this operator is not the active one now")
            await work()
        except CofferError as error:
            raise StepError(name, error, about) from error
