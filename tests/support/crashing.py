"""What was said on the pipe over all lives of the reporter, and what must then be in the log."""

import os
import random
import subprocess
import sys
from pathlib import Path

from tallystick.actors.runtime.fleet import Fleet
from tallystick.events.log.codec import decode_event
from tallystick.events.log.restoring import Opened, open_ledger
from tallystick.events.log.sources import entries_of
from tallystick.events.log.store import open_store
from tallystick.events.state.conservation import check_conserved
from tests.support.crash_reporter import message, used

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60


class Lives:
    """A client whose fleet dies: it knows what it sent and what was acknowledged, and sends the rest again."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: list[int] = []
        self.acknowledged: set[int] = set()
        self.other_lines: list[str] = []

    @property
    def unacknowledged(self) -> list[int]:
        return [number for number in self.sent if number not in self.acknowledged]

    def begin(self, **environment: str) -> "subprocess.Popen[str]":
        first = max(self.sent, default=-1) + 1
        again = map(str, self.unacknowledged)
        return subprocess.Popen(
            [sys.executable, "-m", "tests.support.crash_reporter", self.url, str(first), *again],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
            env={**os.environ, **environment},
        )

    def hear(self, line: str) -> None:
        if not line.endswith("\n"):
            return  # it was killed within a word
        word, _, rest = line.rstrip("\n").partition(" ")
        if word == "sent" and int(rest) not in self.sent:
            self.sent.append(int(rest))
        elif word == "ack":
            self.acknowledged.add(int(rest))
        elif word != "sent":
            self.other_lines.append(line.rstrip("\n"))

    def live_and_be_killed(self, dice: random.Random) -> None:
        """One life, ended by SIGKILL after a number of lines that is left to chance: sometimes while it opens."""
        process = self.begin()
        assert process.stdout is not None
        for _ in range(dice.choice((0, 1, 1 + dice.randrange(40), 1 + dice.randrange(400), 1 + dice.randrange(400)))):
            self.hear(process.stdout.readline())
        process.kill()
        for line in process.stdout:
            self.hear(line)
        process.wait(SECONDS)
        process.stdout.close()

    def check(self) -> Opened:
        """What an auditor and a client want to see in the file, whatever happened to its writer."""
        store = open_store(self.url)
        ledger, digest = open_ledger(store)  # proves every link of the chain
        in_log = dict(entries_of(decode_event(record.data, record.name) for record in store.read()))
        assert dict(store.sources.entries()) == in_log, "the index of sources is not what the log says"
        store.close()
        check_conserved(ledger)
        done = {int(id.removeprefix("n-")) for id in ledger.ids if id.startswith("n-")}
        assert self.acknowledged <= done, f"acknowledged and lost: {sorted(self.acknowledged - done)}"
        assert done <= set(self.sent), f"never sent: {sorted(done - set(self.sent))}"
        assert ledger.spent[0] == sum(map(used, done)), "something was counted twice, or not at all"
        holds = {number for number in done if message(number)["type"] == "Reserve"}
        settled = {number - 1 for number in done if message(number)["type"] == "Settle"}
        assert ledger.held[0] == sum(number + 1 for number in holds - settled)
        return Opened(ledger, digest)

    def end_well(self) -> None:
        """The client sends what is left once more, twice over: each message counts once, and all are answered."""
        with Fleet.open(self.url) as fleet:
            again = [message(number) for number in self.unacknowledged]
            first = fleet.ask(again)
            assert all("ok" in reply for reply in first)
            assert fleet.ask(again) == first
        self.acknowledged.update(self.sent)
        self.check()
