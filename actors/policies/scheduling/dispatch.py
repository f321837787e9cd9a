"""Which waiting task starts next.

The best of those that can start: a task whose type or product is at its limit does not hold up the others. But an aged
task that cannot start *keeps* slots from those that rank lower, or they could keep it out for ever: where type and
product both have a limit, one slot may be taken each time before the other is free. What it keeps:

- where its type or its product is full: one slot of the other, for the first such task only;
- where only the total is full: every free slot of its type and product. Nothing can start then, but another task may
  take a running task's slot (``preemption.py``), and would be in its way once a slot is free.

The total itself need not be kept: a slot of a type or a product frees one of the total with it.
"""

from collections.abc import Callable

from tallystick.actors.policies.scheduling.queue import Queue, Ranked
from tallystick.actors.policies.scheduling.ranking import Moment
from tallystick.actors.policies.scheduling.slots import Left, Slots
from tallystick.actors.policies.scheduling.tasks import Kind, Waiting

MayStart = Callable[[Waiting], bool]
"""Whether nothing but slots is in a task's way: no pause, no daily limit, no empty budget. Asked of heads only."""

_ALL = 2**63


def pick(queue: Queue, slots: Slots, moment: Moment, may_start: MayStart) -> Ranked | None:
    """The task that starts next, or None where none can.

    Where the first of a group may not start, the others of its group wait behind it.
    """
    if slots.full:
        return None
    kept = Kept()
    for head in queue.heads(moment):
        waiting = head.waiting
        if kept.has_room(waiting.kind, slots.left(waiting.kind)):
            if may_start(waiting):
                return head
        elif head.aged and may_start(waiting):
            kept.keep(waiting.kind, slots.left(waiting.kind))
    return None


class Kept:
    """What aged tasks that cannot start keep from those that rank lower, by type and by product."""

    def __init__(self) -> None:
        self._types: dict[str, int] = {}
        self._products: dict[str, int] = {}

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


def _more(left: int | None, kept: int) -> bool:
    """Whether more slots are left than are kept; where there is no limit there always are."""
    return left is None or left > kept
