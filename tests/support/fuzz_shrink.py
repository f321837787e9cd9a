"""Cuts a session that found something down to a short one that finds the same, by trying without parts of it."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tests.support.fuzz_play import Finding, play
from tests.support.fuzz_session import Session, Step

T = TypeVar("T")

FOLDER = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 - of each session's own
"""Memory, where there is any: a sync of each commit is not what is tried here."""


def found_by(session: Session) -> Finding | None:
    """What a session finds, played in a folder of its own."""
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        try:
            play(session, Path(folder))
        except Finding as finding:
            return finding
    return None


def shrunk(session: Session, sort: str, seconds: float) -> Session:
    """A short session that still finds something of this ``sort``: as short as comes out within so many seconds."""
    until = time.monotonic() + seconds

    def finds(config: dict[str, Any], steps: Sequence[Step]) -> bool:
        if time.monotonic() > until:
            return False
        finding = found_by(Session(config, list(steps)))
        return finding is not None and finding.sort == sort

    steps = _fewest(session.steps, lambda some: finds(session.config, some))
    single = [one for step in steps for one in _apart(step)]
    if len(single) > len(steps) and finds(session.config, single):
        steps = _fewest(single, lambda some: finds(session.config, some))
    keys = _fewest(sorted(session.config), lambda some: finds({key: session.config[key] for key in some}, steps))
    return Session({key: session.config[key] for key in keys}, steps)


def _apart(step: Step) -> list[Step]:
    return [Step("ask", one) for one in step.what] if step.kind in ("list", "burst") else [step]


def _fewest(parts: Sequence[T], still: Callable[[list[T]], bool]) -> list[T]:
    """Delta debugging: leave out ever smaller pieces, as long as it still holds of the rest."""
    kept, size = list(parts), max(1, len(parts) // 2)
    while kept:
        at, was = 0, len(kept)
        while at < len(kept):
            rest = kept[:at] + kept[at + size :]
            if still(rest):
                kept = rest
            else:
                at += size
        if size == 1 and len(kept) == was:
            return kept
        size = max(1, size // 2)
    return kept
