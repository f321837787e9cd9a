"""Plays a fuzzed session through the live fleet on disk, and checks what must always hold.

Every message is answered; the fleet does not stop and no specialist fails; conservation holds in full; a replay gives
the state that was left; the views that followed are those that are made anew; `audit verify` finds nothing; and the
tokens that were reported are the tokens that are recorded.
"""

import contextlib
import datetime as dt
import functools
import itertools
import json
import math
import os
import random
import re
import shutil
import sqlite3
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner

from tallystick import Fleet
from tallystick.actors import manager
from tallystick.actors.runtime.following import Following
from tallystick.actors.runtime.pending import Pending
from tallystick.actors.runtime.supervision import Crashes
from tallystick.cli.main import main
from tallystick.config.loader import from_mapping
from tallystick.events.log import snapshot
from tallystick.events.log.restoring import open_ledger
from tallystick.events.log.store import open_store
from tallystick.events.state.conservation import check_conserved
from tallystick.events.state.ledger import Ledger
from tests.support.core import START
from tests.support.few_prices import few_prices
from tests.support.fuzz_checks import Finding, compare_log, follow_views
from tests.support.fuzz_clock import Machine, SteppedClock
from tests.support.fuzz_session import Session, Step

SNAPSHOT_EVERY = 60
"""Events between two snapshots: so few that sessions begin from some."""
SECONDS = 30.0
NO_ANSWERS = ("halted", "busy", "internal_error", "report_failed")
"""Codes with which the fleet says that it could not answer."""


LAST_READ = (
    ["status", "--json"],
    ["report"],
    ["dashboard"],
    ["cost"],
    ["forecast"],
    ["queue"],
    ["metrics"],
    ["status"],
)


class Player:
    """One fleet after the other on one log, as a session restarts it."""

    def __init__(self, session: Session, folder: Path, trouble: list[str]) -> None:
        self._folder, self._generation = folder, 0
        self._config = session.config
        self._machine = Machine()
        self._clock = SteppedClock(self._machine, START)
        self._leases: dict[str, str] = {}
        self._expected: dict[str, int] = {}
        self._said: Counter[str] = Counter()
        self._first: dict[str, Any] = {}
        self._file = folder / "limits.yml"
        self._following: Following | None = None
        self.played: list[Step] = []
        """The steps as they were taken, names put in."""
        self.messages = 0
        self.codes: Counter[str] = Counter()
        self.trouble = trouble
        """Tracebacks of what failed inside."""
        self._url = self._fresh_place()
        self._fleet = self._open(first=True)

    def play(self, steps: Sequence[Step]) -> None:
        """Raises `Finding` where something does not hold."""
        try:
            for step in steps:
                self.played.append(Step(step.kind, self._resolved(step.what)))
                began = time.monotonic()
                getattr(self, f"_step_{step.kind}")(self.played[-1].what)
                if step.kind in ("ask", "list", "burst") and time.monotonic() - began > SECONDS:
                    raise Finding("slow", f"{time.monotonic() - began:.0f} s for {step.what!r}"[:2_000])
                self._check(full=step.kind not in ("ask", "wait"))
            self._end()
        finally:
            self._fleet.close()

    # --- steps --------------------------------------------------------------------------------------------------------

    def _step_ask(self, message: Any) -> None:
        self._await([self._sent(message)], [message])

    def _step_list(self, many: list[Any]) -> None:
        pending = self._fleet.send(many)
        self.messages += len(many)
        self._await([pending], [many])

    def _step_burst(self, many: list[Any]) -> None:
        self._await([self._sent(one) for one in many], many)

    def _step_wait(self, seconds: float) -> None:
        self._fleet.advance(self._clock.now() + dt.timedelta(seconds=seconds))

    def _step_jump(self, seconds: float) -> None:
        self._machine.step(seconds)
        self._fleet._watch.look()
        self._fleet.advance(self._clock.now())

    def _step_file(self, text: str) -> None:
        if self._following is None:
            self._file.write_text(json.dumps(self._config), encoding="utf-8")
            self._following = Following(self._fleet, self._file, "operator", itertools.count().__next__)
        self._file.write_text(text, encoding="utf-8")
        os.utime(self._file, ns=(self.messages, self.messages))
        while self._following.look():
            pass

    def _step_views(self, _: Any) -> None:
        self._fleet.quiesce()
        follow_views(self._url)

    def _step_read(self, words: list[str]) -> None:
        self._fleet.quiesce()
        position = random.Random(self.messages).randint(1, max(self._fleet.position, 1))
        self._run([str(position) if word == "@position" else word for word in words])

    def _step_restart(self, how: dict[str, bool]) -> None:
        self._fleet.quiesce()
        old, ledger, self._following = self._url, self._ledger, None
        if how["crash"]:
            self._url = self._fresh_place()
            for file in Path(old.removeprefix("sqlite:///")).parent.glob("fleet.db*"):
                if not file.name.endswith("-shm"):
                    shutil.copy(file, self._path().parent / file.name)
            before = snapshot.dump(ledger)
            self._fleet.close()
        else:
            self._fleet.close()
            before = snapshot.dump(ledger)
        self._check()
        if not how["snapshots"]:
            with closing(sqlite3.connect(self._path())) as connection, connection:
                connection.execute("DELETE FROM snapshots")
        with closing(open_store(self._url)) as store:
            ledger = open_ledger(store).ledger
            if snapshot.dump(ledger) != before:
                raise Finding("restart", "the state after it is not the state before it")
        self._clock = SteppedClock(self._machine, ledger.now)
        self._fleet = self._open()

    # --- a fleet ------------------------------------------------------------------------------------------------------

    def _path(self) -> Path:
        return Path(self._url.removeprefix("sqlite:///"))

    def _fresh_place(self) -> str:
        self._generation += 1
        folder = self._folder / str(self._generation)
        folder.mkdir()
        return f"sqlite:///{folder}/fleet.db"

    def _open(self, first: bool = False) -> Fleet:
        config, prices = (from_mapping(self._config), few_prices()) if first else (None, None)
        fleet = Fleet.open(self._url, config, prices, clock=self._clock, notify=False)
        fleet._watch.stop()  # it looks when the session says so
        return fleet

    def _sent(self, message: Any) -> Pending:
        self.messages += 1
        if isinstance(message, dict) and self.messages % 3 == 0:
            message = json.dumps(message, ensure_ascii=self.messages % 2 == 0)
        return self._fleet.send(message)

    def _resolved(self, value: Any) -> Any:
        """A message with the names that are open now in the places of ``@agent 7`` and the like."""
        if isinstance(value, str) and value.startswith("@"):
            return self._named(*value[1:].split(" ", 1))
        if isinstance(value, list):
            return [self._resolved(entry) for entry in value]
        if not isinstance(value, dict):
            return value
        found = {self._resolved(key): self._resolved(entry) for key, entry in value.items()}
        if found.get("lease") == "@lease":
            run = self._ledger.tasks.running.get(str(found.get("task")))
            found["lease"] = self._leases.get(str(found.get("task")), "lease-1") if run is None else run.lease
        return found

    def _named(self, kind: str, number: str = "") -> str:
        if kind == "ago":
            at = self._clock.now() - dt.timedelta(seconds=int(number))
            return at.isoformat()
        if not number.isdigit():
            return f"@{kind}"
        ledger = self._ledger
        there = {
            "agent": list(ledger.names),
            "hold": list(ledger.holds),
            "run": list(ledger.tasks.running),
            "task": list(ledger.tasks.known),
            "ended": [name for name, task in ledger.tasks.known.items() if not task.is_open],
        }[kind]
        return there[int(number) % len(there)] if there else "none"

    @property
    def _ledger(self) -> Ledger:
        return self._fleet._manager.ledger

    # --- answers ------------------------------------------------------------------------------------------------------

    def _await(self, pendings: list[Pending], messages: list[Any]) -> None:
        self._fleet.quiesce(SECONDS)
        if any(pending._answers is None for pending in pendings) and self._fleet.halted is None:
            # One that asks how a task stands may wait for it to change, and one that reserves for room.
            longest = max(pending.waits_seconds for pending in pendings)
            self._fleet.advance(self._clock.now() + dt.timedelta(seconds=longest))
        self._check()
        for pending, message in zip(pendings, messages, strict=True):
            if pending._answers is None:
                raise Finding("unanswered", repr(message)[:500])
            replies = pending.result(0)
            if pending.many:
                if len(replies) != len(message):
                    raise Finding("unanswered", f"{len(replies)} replies to {len(message)} messages")
                for one, reply in zip(message, replies, strict=True):
                    self._judge(one, reply)
            else:
                self._judge(message, replies)

    def _judge(self, message: Any, reply: Any) -> None:
        kind = message.get("type") if isinstance(message, dict) else "text"
        if not isinstance(reply, dict) or len(reply) != 1 or not reply.keys() <= {"ok", "error"}:
            raise Finding("reply", f"{reply!r} to {message!r}")
        error = reply.get("error")
        self.codes[f"{kind} {'ok' if error is None else error['code']}"] += 1
        if error is not None:
            if error["code"] in NO_ANSWERS or not error["detail"] or error["code"] not in _documented():
                raise Finding(f"answered {error['code']}", f"{error} to {message!r}")
            return
        answer = reply["ok"]
        if isinstance(answer, dict) and isinstance(answer.get("task"), str) and answer.get("lease"):
            self._leases[answer["task"]] = answer["lease"]
        if isinstance(message, dict):
            self._expect(message)

    def _expect(self, message: dict[str, Any]) -> None:
        """Note what a report must have left in the log, where that is plain to see from the report alone."""
        id, usage = message.get("id"), message.get("usage")
        if not isinstance(id, str):
            return
        self._said[id] += 1
        if message != self._first.setdefault(id, message):
            # Only so many ids are remembered: another message may be carried out under the same one.
            self._expected.pop(id, None)
        if self._said[id] > 1 or message["type"] != "ReportUsage":
            return
        plain = message.keys() <= {"type", "id", "agent", "task", "lease", "usage", "operation"}
        tokens = usage.get("tokens") if isinstance(usage, dict) else None
        if plain and type(tokens) in (int, float):
            self._expected[id] = math.ceil(tokens)

    # --- what must hold -----------------------------------------------------------------------------------------------

    def _check(self, full: bool = False) -> None:
        if self._fleet.halted is not None:
            raise Finding(f"halted {_plain(self._fleet.halted)}", "\n".join(self.trouble))
        if self.trouble:
            raise Finding(f"a specialist failed {_plain(self.trouble[0].splitlines()[0])}", "\n".join(self.trouble))
        if full:
            self._fleet.quiesce(SECONDS)
            check_conserved(self._ledger)

    def _end(self) -> None:
        ledger = self._ledger
        for name in list(ledger.names):
            for kind in ("GetStatus", "CheckEnforcement", "Forecast"):
                self._step_ask({"type": kind, "agent": name})
        self._step_ask({"type": "GetGlobalStatus", "limit": 1_000})
        self._step_ask({"type": "GetQueue", "limit": 1_000})
        self._check(full=True)
        follow_views(self._url)
        self._fleet.close()
        self._check()
        compare_log(self._url, ledger, self._expected, self._said)
        self._run(["audit", "verify"], sound=True)
        for words in random.Random(self.messages).sample(LAST_READ, 2):
            self._run(words)

    def _run(self, words: list[str], sound: bool = False) -> None:
        result = CliRunner().invoke(main, [*words, "--store", self._url], prog_name="tallystick")
        error = result.exception
        if error is not None and not isinstance(error, SystemExit | click.ClickException):
            text = "".join(traceback.format_exception(error))
            raise Finding(f"command {words[0]} {_plain(str(type(error).__name__))}", text)
        if result.exit_code > 1 or (sound and result.exit_code):
            raise Finding(f"command {words[0]} exits with {result.exit_code}", f"{words}: {result.output}")


def play(session: Session, folder: Path) -> Player:
    """Play a session in an empty folder.

    Raises:
        Finding: something that must not happen.
    """
    with _watched() as trouble, contextlib.chdir(folder):
        player = Player(session, folder, trouble)
        try:
            player.play(session.steps)
        except Finding as finding:
            finding.played = player.played
            raise
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = "".join(traceback.format_exception(error))
            finding = Finding(f"{type(error).__name__} in {Path(where.filename).name} {where.name}", text)
            finding.played = player.played
            raise finding from error
    return player


@contextlib.contextmanager
def _watched() -> Iterator[list[str]]:
    """Snapshots come often, and what fails inside the fleet is noted with its traceback."""
    trouble: list[str] = []
    note, halt, every = Crashes.note, manager.Manager.halt, manager.SNAPSHOT_EVERY

    def noted(self: Crashes, name: str, reason: str, now: dt.datetime) -> bool:
        trouble.append(f"{name} {reason}\n{traceback.format_exc()}")
        return note(self, name, reason, now)

    def halted(self: manager.Manager, reason: str) -> None:
        trouble.append(f"halted {reason}\n{traceback.format_exc()}")
        halt(self, reason)

    Crashes.note, manager.Manager.halt, manager.SNAPSHOT_EVERY = noted, halted, SNAPSHOT_EVERY  # type: ignore[method-assign]
    try:
        yield trouble
    finally:
        Crashes.note, manager.Manager.halt, manager.SNAPSHOT_EVERY = note, halt, every  # type: ignore[method-assign]


@functools.cache
def _documented() -> frozenset[str]:
    """The codes of which the reference says what to do about them."""
    reference = Path(__file__).parents[2] / "docs/reference"
    text = "".join((reference / page).read_text(encoding="utf-8") for page in ("errors.md", "messages.md"))
    return frozenset(re.findall("`([a-z_]+)`", text))


def _plain(text: str) -> str:
    """A sentence without the numbers and names that differ from case to case."""
    return re.sub(r"[0-9]+|'[^']*'|\S*[0-9]\S*", "…", text)[:80]
