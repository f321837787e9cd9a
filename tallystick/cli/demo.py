"""``tallystick demo``: a fleet of agents that obey, through the real manager, on a real store, to be watched."""

import contextlib
import shlex
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import structlog
from rich.console import Console

from tallystick.cli.common import how_it_was_called, json_text
from tallystick.cli.numbers import WholeNumber
from tallystick.cli.serve import HOST, PORT, listening_on, server_module
from tallystick.config.loader import load
from tallystick.demo.agent import Refused
from tallystick.demo.closing import tell
from tallystick.demo.generate import generate
from tallystick.demo.plan import too_small
from tallystick.demo.screen import Lines, Quiet, Screen, Watcher
from tallystick.demo.served import ServedFleet
from tallystick.demo.show import run
from tallystick.demo.summary import Summary, for_machines
from tallystick.demo.tally import Tally
from tallystick.demo.trace import TraceError, read_trace
from tallystick.demo.workload import Workload
from tallystick.events.log.store import Store, open_store
from tallystick.events.log.store_place import shown

WATCHED_SECONDS: Final = 24
"""How long it takes to watch where no speed is named; waits and throttles make it half as long again."""
SERVED_SECONDS: Final = 150
"""The same in the dashboard."""


class Speed(click.ParamType[float]):
    """A factor of real time, or ``max``."""

    name = "FACTOR|max"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        if value == "max":
            return float("inf")
        factor = 0.0
        with contextlib.suppress(ValueError):
            factor = float(value)
        if not 0.001 <= factor <= 1_000_000:
            self.fail(f"{value!r} is neither max nor a number from 0.001 to 1000000, such as 60", param, ctx)
        return factor


@click.command()
@click.option(
    "--trace",
    "trace_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run a real usage trace (CSV, may be gzipped) instead of the generated fleet.",
)
@click.option(
    "--speed",
    metavar="FACTOR|max",
    type=Speed(),
    help="Seconds of the agents' time per second, or max.  [default: half a minute on a terminal, else max]",
)
@click.option(
    "--limits",
    "limits_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A resource-limits.yml of yours.  [default: nine tenths of what all tasks need]",
)
@click.option(
    "--store", "store_url", metavar="URL", help="Where to keep the fleet: a new file.  [default: a temporary one]"
)
@click.option(
    "--serve",
    "port",
    type=WholeNumber(0, 65535),
    is_flag=False,
    flag_value=PORT,
    metavar="[PORT]",
    help=f"Show it in the dashboard, on a port of this machine ({PORT} where none is given), until Ctrl-C.",
)
@click.option("--json", "json_only", is_flag=True, help="Print the summary for machines, and nothing else.")
def demo(
    trace_file: Path | None,
    speed: float | None,
    limits_file: Path | None,
    store_url: str | None,
    port: int | None,
    json_only: bool,
) -> None:
    """Watch a fleet of agents being given slots, budgeted, warned, throttled and stopped by the real manager.

    Slots and budget are too few for all of them. Each run is a task: it waits in the queue, and works under a lease.
    Its agent obeys: it waits when it is throttled, stops when it is stopped, and goes on if it gets more. At the end
    the log is read again from the first event, and every token and nano-dollar is accounted for.

    A trace is a CSV file with the columns run_id, agent, product_or_task, step, timestamp_s, duration_s, model,
    input_tokens, output_tokens, cached_tokens, cost_usd, one line per step; an empty cell is unknown. Each of its runs
    becomes a task.

    \b
    Examples:
      tallystick demo
      tallystick demo --serve
      tallystick demo --trace runs.csv.gz --speed max --json
    """
    # The alerts of a demonstration concern no operator; why a fleet stopped is this command's error.
    structlog.configure(processors=[_drop])
    console = Console(highlight=False, markup=False, emoji=False)
    workload = _workload(trace_file)
    config = too_small(workload) if limits_file is None else load(limits_file)
    watched = console.is_terminal and not json_only and port is None
    if speed is None:
        lasts = SERVED_SECONDS if port is not None else WATCHED_SECONDS
        speed = max(1.0, workload.lasts_ms / 1000 / lasts) if watched or port is not None else float("inf")
    factor = None if speed == float("inf") else speed
    store = _new_store(store_url)
    tally = Tally()
    watcher: Watcher = Quiet()
    if watched:
        watcher = Screen(console, tally, workload.title, factor)
    elif not json_only:
        console.print(f"through the real manager, on {store.named}", soft_wrap=True)
        watcher = Lines(console, tally, workload.steps)
    with _stopped_by_ctrl_c() as stop:
        try:
            if port is not None:
                served = ServedFleet(store)
                with _dashboard(served, port, json_only):
                    summary = run(workload, config, store, factor, watcher, tally, stop, served)
            else:
                summary = run(workload, config, store, factor, watcher, tally, stop)
        except Refused as error:
            raise click.ClickException(str(error)) from None
    _tell(console, summary, json_only)


def _workload(trace_file: Path | None) -> Workload:
    if trace_file is None:
        return generate()
    try:
        return read_trace(trace_file)
    except TraceError as error:
        raise click.UsageError(str(error)) from None


def _new_store(url: str | None) -> Store:
    """An empty store; a fleet that is there already is left alone."""
    if url is None:
        url = f"sqlite:///{(Path(tempfile.mkdtemp(prefix='tallystick-')) / 'fleet.db').as_posix()}"
    store = open_store(url, writer=True)
    if store.last() is not None:
        store.close()
        raise click.UsageError(f"{shown(url)} holds a fleet already: name a new file for the demonstration's")
    return store


@contextlib.contextmanager
def _dashboard(served: ServedFleet, port: int, quietly: bool) -> Iterator[None]:
    """Serve the demonstration's fleet to this machine, and say where."""
    server = server_module()
    with listening_on(server, HOST, port, "--serve") as listening, server.served_beside(served, listening, HOST):
        click.echo(f"the dashboard is at http://{HOST}:{listening.getsockname()[1]} until Ctrl-C", err=quietly)
        yield


@contextlib.contextmanager
def _stopped_by_ctrl_c() -> Iterator[threading.Event]:
    """The first Ctrl-C ends the show at its next moment, with the summary; a second one ends the program."""
    stop = threading.Event()

    def end(number: int, frame: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, end)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _tell(console: Console, summary: Summary, json_only: bool) -> None:
    """The summary; exit 1 where not everything is accounted for."""
    try_next = _suggestions(summary)
    if json_only:
        click.echo(json_text(for_machines(summary, try_next)))
    else:
        tell(console, summary, try_next)
    if summary.proof.problem is not None:
        sys.exit(1)


def _suggestions(summary: Summary) -> list[str]:
    """Three commands that work on what was just made."""
    program = how_it_was_called()
    if summary.store == "memory:":
        return [f"{program} demo --store sqlite:///demo.db", f"{program} config show", f"{program} --help"]
    store = f"--store {shlex.quote(summary.store)}"
    # A task that never had a slot had no account either.
    ran = [agent for agent in (*summary.left_out, *summary.agents) if agent.runs]
    agent = (ran or summary.agents)[0].run.id
    return [
        f"{program} status {store}",
        f"{program} audit verify {store}",
        f"{program} audit explain {shlex.quote(agent)} {store}",
    ]


def _drop(*_: object) -> Any:
    raise structlog.DropEvent
