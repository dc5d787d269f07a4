"""When the agent's certificate is made anew: pure arithmetic on its life."""

from fractions import Fraction
from typing import Final

from coffer_operator.plan.model import IssueCertificate
from coffer_operator.plan.world import World

RENEW_AFTER: Final = Fraction(2, 3)  # of its life


def plan_certificate(world: World) -> tuple[IssueCertificate | None, float | None]:
    """What to issue now, and in how many seconds the present certificate is to be renewed."""
    name = world.instance.metadata.name
    present = world.certificate
    if present is None:
        return (IssueCertificate(name), None) if world.certificate_known else (None, None)
    if world.ca_fingerprint and present.ca_fingerprint != world.ca_fingerprint:
        return IssueCertificate(name), None
    life = present.not_after - present.not_before
    renewal_at = present.not_before + life * RENEW_AFTER.numerator / RENEW_AFTER.denominator
    left_s = (renewal_at - world.now).total_seconds()
    return (IssueCertificate(name), None) if left_s <= 0 else (None, left_s)
