"""Which waiting task starts next.

The best of those that can start: a task whose type or product is at its limit does not hold up the others. But an aged
task that cannot start *keeps* slots from those that rank lower, or they could keep it out for ever: where type and
product both have a limit, one slot may be taken each time before the other is free. What it keeps:

- where its type or its product is full: one slot of the other, for the first such task only;
- where only the total is full: every free slot of its type and product. Nothing can start then, but another task may
  take a running task's slot (``preemption.py``), and would be in its way once a slot is free.

The total itself need not be kept: a slot of a type or a product frees one of the total with it.

Money is kept likewise: what the first aged task needs of an account, or of a daily limit, is not given to tasks that
rank lower, as long as it could fit once all that is out has come back. Critical tasks may take it all the same.
"""

from collections.abc import Callable, Sequence

from tallystick.actors.policies.scheduling.queue import Queue, Ranked
from tallystick.actors.policies.scheduling.ranking import Moment
from tallystick.actors.policies.scheduling.slots import Left, Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting
from tallystick.events.decide.admission import Claim
from tallystick.events.messages.command import PRIORITIES

MayStart = Callable[[Waiting], bool]
"""Whether nothing but slots is in a task's way: no pause, no daily limit, no empty budget. Asked of heads only."""
Claims = Callable[[Waiting], Sequence[Claim] | None]
"""What a task asks of money and of the day; None where something else is in its way."""


def no_claims(waiting: Waiting) -> Sequence[Claim] | None:
    """Where tasks need nothing but slots."""
    return ()


_ALL = 2**63


def pick(
    queue: Queue,
    slots: Slots,
    moment: Moment,
    may_start: MayStart,
    claims: Claims = no_claims,
    kept: "Kept | None" = None,
) -> Ranked | None:
    """The task that starts next, or None where none can.

    Where the first of a group may not start, the others of its group wait behind it. ``kept`` takes what is kept from
    those that rank lower.
    """
    if slots.full:
        return None
    kept = Kept() if kept is None else kept
    for head in queue.heads(moment):
        waiting, left = head.waiting, slots.left(head.waiting.kind)
        has_room = kept.has_room(waiting.kind, left)
        if not has_room and not head.aged:
            continue
        starts = may_start(waiting)
        if has_room and starts and kept.pays(waiting, claims):
            return head
        if head.aged:
            kept.keep_for(waiting, left, claims, slots=starts and not has_room)
    return None


class Kept:
    """What aged tasks that cannot start keep from those that rank lower: by type, by product, and of each source of
    money.
    """

    def __init__(self) -> None:
        self._types: dict[str, int] = {}
        self._products: dict[str, int] = {}
        self.money: dict[str, tuple[Waiting, Claim]] = {}
        """By source, the first aged task that cannot start, and what it asks of it."""
        self.by_slots: list[Waiting] = []
        """The aged tasks that keep slots."""

    def keep_for(self, waiting: Waiting, left: Left, claims: Claims, *, slots: bool) -> None:
        """An aged task cannot start; ``slots``: with what is ``left``, and it lacks nothing else."""
        if slots:
            self.keep(waiting.kind, left)
            self.by_slots.append(waiting)
        asked = claims(waiting)
        if asked and all(claim.fits for claim in asked):
            for claim in asked:
                self.money.setdefault(claim.source, (waiting, claim))

    def pays(self, waiting: Waiting, claims: Claims) -> bool:
        """Whether what a task needs is free beside what is kept from it."""
        return self.older(waiting, claims) is None

    def older(self, waiting: Waiting, claims: Claims) -> Waiting | None:
        """The aged task for which money is kept that this one needs; None where there is none."""
        if not self.money or waiting.kind.priority == PRIORITIES[0]:
            return None
        for claim in claims(waiting) or ():
            older, kept = self.money.get(claim.source, (waiting, claim))
            if older.task != waiting.task and claim.needed > claim.free - kept.needed:
                return older
        return None

    def older_than(self, waiting: Waiting, claims: Claims) -> str | None:
        """The aged task for which money or a slot is kept that this one needs; None where there is none."""
        older = self.older(waiting, claims)
        meets = (one for one in self.by_slots if one.task != waiting.task and _meet(one.kind, waiting.kind))
        older = next(meets, None) if older is None else older
        return None if older is None else older.task

    def keep(self, kind: Kind, left: Left) -> None:
        """An aged task of this kind cannot start with what is ``left``."""
        slots = _ALL if self._only_total_is_full(kind, left) else 1
        self._types[kind.agent_type] = max(slots, self._types.get(kind.agent_type, 0))
        self._products[kind.product] = max(slots, self._products.get(kind.product, 0))

    def has_room(self, kind: Kind, left: Left) -> bool:
        """Whether a task of this kind can start with what is ``left`` and not kept by those that rank higher."""
        return _more(left.total, 0) and self._has_type(kind, left) and self._has_product(kind, left)

    def has_room_without(self, victim: Kind, kind: Kind, left: Left) -> bool:
        """The same, if a running task of the kind ``victim`` gave its slot to it.

        A slot passes from hand to hand where both are of one type or one product: no other task waits in between.
        """
        in_total = _more(left.total, -1)
        in_type = _more(left.agent_type, -1) if victim.agent_type == kind.agent_type else self._has_type(kind, left)
        in_product = _more(left.product, -1) if victim.product == kind.product else self._has_product(kind, left)
        return in_total and in_type and in_product

    def _only_total_is_full(self, kind: Kind, left: Left) -> bool:
        return not _more(left.total, 0) and self._has_type(kind, left) and self._has_product(kind, left)

    def _has_type(self, kind: Kind, left: Left) -> bool:
        return _more(left.agent_type, self._types.get(kind.agent_type, 0))

    def _has_product(self, kind: Kind, left: Left) -> bool:
        return _more(left.product, self._products.get(kind.product, 0))


def _meet(one: Kind, other: Kind) -> bool:
    return one.agent_type == other.agent_type or one.product == other.product


def _more(left: int | None, kept: int) -> bool:
    """Whether more slots are left than are kept; where there is no limit there always are."""
    return left is None or left > kept
