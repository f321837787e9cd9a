"""``python -m benchmarks.peers``: the three questions to each peer and to us, and a table for the documentation."""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.peers.driving import Answering, Loss, Side, answering, killed
from benchmarks.peers.environments import NotInstalled, python_with
from benchmarks.peers.questions import ENOUGH_FOR
from tallystick.events.log.postgres_place import place_of
from tests.support.postgres import MISSING, programs, running

ROUNDS = 5
SECONDS = 0.7
KILLS = 2
ACKNOWLEDGEMENTS = 300
BUDGETS = ("own", "one")
_SYNCS = 50


class Asked(NamedTuple):
    """A peer that is asked: its name in the table, its class, its packages, and whether it needs the server."""

    name: str
    where: str
    pins: Sequence[str] = ()
    server: bool = False


OURS = (
    Asked("tallystick, threads, dictionaries", "ours:ByMappings"),
    Asked("tallystick, threads, message classes", "ours:ByStructs"),
    Asked("tallystick, coroutines, dictionaries", "ours:ByMappingsInALoop"),
    Asked("tallystick, coroutines, message classes", "ours:ByStructsInALoop"),
)
PEERS = (
    Asked("SQLite by hand", "by_sqlite:ByHand"),
    Asked(
        "PostgreSQL `FOR UPDATE` by hand",
        "by_postgres:ByHand",
        ("psycopg[binary]==3.3.9",),
        server=True,
    ),
    Asked("`eventsourcing` 9.5.6", "by_eventsourcing:ByAggregates", ("eventsourcing==9.5.6",)),
    Asked("`agentbudget` 0.4.0 (in memory)", "by_agentbudget:BySessions", ("agentbudget==0.4.0",)),
    Asked("`agent-tokenops` 2.0.1 (in memory)", "by_tokenops:ByRuns", ("agent-tokenops==2.0.1",)),
    Asked("LiteLLM 1.110.2 BudgetManager", "by_litellm:ByUsers", ("litellm==1.110.2",)),
)


class Cycle(NamedTuple):
    """Microseconds that a cycle of one of all callers took, and those of processor time."""

    wall: float
    processor: float


class Answers(NamedTuple):
    """What was found out of one; its cycles by round, for each of `BUDGETS`."""

    raced: int
    loss: Loss
    cycles: dict[str, list[Cycle]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of each round, budget and peer")
    parser.add_argument("--folder", type=Path, help="on the disk that is measured; the system's for such files if not")
    options = parser.parse_args()
    if options.folder is not None:
        tempfile.tempdir = str(options.folder.resolve())
    print(f"A sync of the disk: {sync_seconds() * 1e3:.2f} ms (median). Load: {os.getloadavg()[0]:.1f}.", flush=True)
    with sides() as found:
        answers = ask(found, options.rounds, options.seconds)
    print(table(answers))


@contextmanager
def sides() -> Iterator[dict[str, Side]]:
    """Those that can be asked here; what cannot is said, and why."""
    found: dict[str, Side] = {}
    with ExitStack() as opened:
        for one in (*OURS, *PEERS):
            if one.server and programs() is None:
                say(f"{one.name} is left out: {MISSING}")
                continue
            try:
                python = python_with(one.pins)
            except NotInstalled as error:
                say(f"{one.name} is left out: {error}")
                continue
            about, servers = "", []
            if one.server:
                server = opened.enter_context(running())
                about, servers = place_of(server.url()).database, [server]
            found[one.name] = Side(f"benchmarks.peers.{one.where}", python, about, servers)
        yield found


def ask(found: dict[str, Side], rounds: int, seconds: float) -> dict[str, Answers]:
    """All of them in turn, in each round, so that whatever else the machine does is shared by all."""
    with ExitStack() as opened:
        working = {name: opened.enter_context(answering(side)) for name, side in found.items()}
        raced = {name: one.raced() for name, one in working.items()}
        cycles: dict[str, dict[str, list[Cycle]]] = {name: {budgets: [] for budgets in BUDGETS} for name in found}
        for number in range(rounds):
            say(f"round {number + 1} of {rounds}")
            for budgets in BUDGETS:
                for name, one in working.items():
                    cycles[name][budgets].append(cycle(one, budgets, seconds))
    answers = {}
    for name, side in found.items():
        say(f"killing {name}")
        losses = [killed(side, ACKNOWLEDGEMENTS) for _ in range(KILLS)]
        loss = Loss(sum(one.acknowledged for one in losses), sum(one.lost for one in losses))
        answers[name] = Answers(raced[name], loss, cycles[name])
    return answers


def cycle(one: Answering, budgets: str, seconds: float) -> Cycle:
    done, processor = one.cost(budgets, seconds)
    return Cycle(done.seconds / done.cycles * 1e6, processor / done.cycles * 1e6)


def table(answers: dict[str, Answers]) -> str:
    """In Markdown. What a peer takes is also shown as a multiple of what we take in the same round and way."""
    head = (
        f"| | calls made, of {ENOUGH_FOR} | lost after SIGKILL | µs per cycle, own budgets | processor "
        "| one budget | processor | × ours: dictionaries | × ours: message classes |"
    )
    lines = [head, "|---|" + "---|" * (head.count("|") - 2)]
    mappings, structs = (answers[one.name] for one in OURS[:2])
    for name, one in answers.items():
        figures = [f"{one.raced}", f"{one.loss.lost} of {one.loss.acknowledged}"]
        for budgets in BUDGETS:
            figures.append(f"{statistics.median(cycle.wall for cycle in one.cycles[budgets]):,.0f}")
            figures.append(f"{statistics.median(cycle.processor for cycle in one.cycles[budgets]):,.0f}")
        figures += [
            " / ".join(f"{ratio(one, ours, budgets):.2f}" for budgets in BUDGETS) for ours in (mappings, structs)
        ]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def ratio(one: Answers, ours: Answers, budgets: str) -> float:
    """How many times as long as ours its cycles took: the median of the rounds."""
    pairs = zip(one.cycles[budgets], ours.cycles[budgets], strict=True)
    return statistics.median(theirs.wall / mine.wall for theirs, mine in pairs)


def sync_seconds() -> float:
    """How long it takes the disk to keep four kilobytes: the median."""
    taken = []
    with tempfile.NamedTemporaryFile() as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
