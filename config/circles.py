"""Whether something that leads to something else leads back to itself."""

from collections.abc import Mapping


def circle_in(leads_to: Mapping[str, str | None]) -> list[str]:
    """The first circle in a map from each name to the one that it leads to: its names, beginning with the one that
    stands first in the map. Empty where every way comes to an end. Each name is visited once.
    """
    seen: set[str] = set()
    for begin in leads_to:
        way: dict[str, None] = {}
        at: str | None = begin
        while at is not None and at not in seen and at not in way:
            way[at] = None
            at = leads_to[at]
        if at is not None and at in way:
            passed = list(way)
            circle = passed[passed.index(at) :]
            members = set(circle)
            first = next(name for name in leads_to if name in members)
            turn = circle.index(first)
            return circle[turn:] + circle[:turn]
        seen.update(way)
    return []
