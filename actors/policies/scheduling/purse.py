"""What is free of money and of the day's limits, as it is given to one task after the other, to try things out."""

from tallystick.actors.policies.scheduling.dispatch import Claims
from tallystick.actors.policies.scheduling.tasks import Waiting


class Purse:
    """What is left by source. Nothing comes back to it: what a run will leave unspent is not known."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._given: dict[str, int] = {}

    def pays(self, waiting: Waiting) -> bool:
        """Whether there is enough for one more task; where there is, it is given to that one."""
        claims = self._claims(waiting)
        if claims is None or any(claim.needed > claim.free - self._given.get(claim.source, 0) for claim in claims):
            return False
        for claim in claims:
            self._given[claim.source] = self._given.get(claim.source, 0) + claim.needed
        return True
