"""The index of sources beside the log: it must be what the log says, or usage would be dropped, or counted twice."""

from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter

from tallystick.events.log.sources import SourcesOfLog
from tallystick.events.log.store import SourceIndex


def wrong_source(index: SourceIndex, log: SourcesOfLog, end: int) -> str | None:
    """The first source of which the index says something else than the log up to a position, in words.

    What the index does not have yet is no fault, where it says so: the next writer adds it.
    """
    upto = index.upto()
    for source, position, found in _side_by_side(log, index):
        if found is None and position is not None and position <= upto:
            return f"the index of sources lacks {source}, which the log has at {position}: it would be recorded again"
        if found is not None and found != position and found <= end:
            says = "nothing" if position is None else f"position {position}"
            return f"the index of sources names position {found} for {source}, for which the log has {says}"
    return None


def _side_by_side(log: SourcesOfLog, index: SourceIndex) -> Iterator[tuple[str, int | None, int | None]]:
    """Each source with its position by the log and by the index."""
    both = merge(((*entry, 0) for entry in log.entries()), ((*entry, 1) for entry in index.entries()))
    for source, found in groupby(both, key=itemgetter(0)):
        positions: list[int | None] = [None, None]
        for _, position, side in found:
            positions[side] = position
        yield source, positions[0], positions[1]
