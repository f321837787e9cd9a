"""``make fuzz``: fresh sessions through the live fleet, for as long as is asked, and what they found.

Each finding is cut down and kept as ``found-SEED.json`` in the folder for findings. Copied to ``tests/fuzz/found/``, it
is a test.
"""

import argparse
import json
import logging
import pprint
import secrets
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.support.fuzz_play import Finding, play
from tests.support.fuzz_session import Session, session
from tests.support.fuzz_shrink import FOLDER, shrunk

SHOWN_EVERY = 30.0


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class Run:
    """One run: what was played, and what was found."""

    def __init__(self, folder: Path, shrink_seconds: float) -> None:
        self._folder, self._shrink_seconds = folder, shrink_seconds
        self._began = time.monotonic()
        self.sessions = self.messages = 0
        self.codes: Counter[str] = Counter()
        self.seeds: dict[str, list[int]] = {}

    @property
    def minutes(self) -> float:
        return (time.monotonic() - self._began) / 60

    def play(self, seed: int) -> None:
        self.sessions += 1
        made = session(seed)
        with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
            try:
                player = play(made, Path(folder))
            except Finding as finding:
                self._found(seed, made, finding)
                return
        self.messages += player.messages
        self.codes += player.codes

    def _found(self, seed: int, made: Session, finding: Finding) -> None:
        """Of each sort the first is cut down and shown; the others are counted."""
        seeds = self.seeds.setdefault(finding.sort, [])
        seeds.append(seed)
        if len(seeds) > 1:
            return
        say(f"\nseed {seed} found: {str(finding)[:6_000]}\n")
        short = shrunk(Session(made.config, finding.played), finding.sort, self._shrink_seconds)
        kept = self._folder / f"found-{seed}.json"
        said = {"seed": seed, "found": finding.sort, "config": short.config, "steps": short.steps}
        kept.write_text(json.dumps(said, indent=1), encoding="utf-8")
        say(f"cut down from {len(made.steps)} steps to {len(short.steps)}, kept in {kept}:")
        say(pprint.pformat({"config": short.config, "steps": [tuple(step) for step in short.steps]}, width=120))

    def show(self) -> None:
        found = sum(map(len, self.seeds.values()))
        played = f"{self.minutes:6.1f} min {self.sessions:6,} sessions {self.messages:9,} messages"
        say(f"{played} {found:4} that found something")

    def summary(self, every: bool) -> int:
        say("")
        self.show()
        for sort, seeds in self.seeds.items():
            say(f"  {len(seeds):4} x {sort}; seeds {', '.join(map(str, seeds[:10]))}")
        if every:
            say("\n".join(f"  {count:8,} {answer}" for answer, count in sorted(self.codes.items())))
        return 1 if self.seeds else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, action="append", help="play these only, as often as given")
    parser.add_argument("--first", type=int, help="play the seeds from here on, one after the other")
    parser.add_argument("--found", type=Path, default=Path(), help="the folder in which findings are kept")
    parser.add_argument("--shrink-seconds", type=float, default=90)
    parser.add_argument("--answers", action="store_true", help="also show how often each message was answered how")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    run, shown = Run(given.found, given.shrink_seconds), 0.0
    seeds = iter(given.seed or [])
    seed = secrets.randbelow(10**9) if given.first is None else given.first
    say(f"playing the seeds {given.seed or f'from {seed} on, for {given.minutes:g} minutes'}")
    try:
        while (seed := next(seeds, -1) if given.seed else seed + 1) >= 0 and run.minutes < given.minutes:
            run.play(seed if given.seed else seed - 1)
            if run.minutes * 60 > shown + SHOWN_EVERY:
                shown = run.minutes * 60
                run.show()
    except KeyboardInterrupt:
        say("interrupted")
    return run.summary(given.answers)


if __name__ == "__main__":
    sys.exit(main())
