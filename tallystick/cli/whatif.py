"""``tallystick whatif``: a log decided again under another policy, and what would have been different."""

from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import click
import structlog
from rich.table import Table

from tallystick.cli.common import console, json_option, json_text, reading, store_option, with_progress
from tallystick.config.amounts import EDGE_NAMES, TOKENS, InvalidAmount, exact_units
from tallystick.config.loader import load
from tallystick.config.prices import load_prices
from tallystick.events.catalog import STORED_NAME, TaskStarted, UsageCorrected
from tallystick.events.log.store import Store
from tallystick.explain.history import History
from tallystick.whatif.answer import Span, answer_json, check_json
from tallystick.whatif.explanation import explain_difference, explain_mismatch
from tallystick.whatif.question import Question
from tallystick.whatif.recorded_runs import RecordedRuns
from tallystick.whatif.reproduction import Reproduction
from tallystick.whatif.rerun import Rerun
from tallystick.whatif.screen import show_answer, show_check
from tallystick.whatif.steps import Step, steps_of
from tallystick.wording import one_line

_FILE = click.Path(path_type=Path)


class TotalType(click.ParamType[tuple[str, int | Decimal | None]]):
    """``DIMENSION=AMOUNT``, or ``DIMENSION=none`` for no limit."""

    name = "DIMENSION=AMOUNT"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int | Decimal | None]:
        if isinstance(value, tuple):
            return value
        name, separator, text = str(value).partition("=")
        if name not in EDGE_NAMES or not separator:
            self.fail(
                f"found {value!r:.100}, allowed is tokens=, time_seconds= or cost_usd= and an amount or none",
                param,
                ctx,
            )
        if text == "none":
            return name, None
        dimension = EDGE_NAMES.index(name)
        try:
            amount = Decimal(text)
            exact_units(amount, dimension, name)
        except (InvalidOperation, InvalidAmount) as error:
            found = str(error) if isinstance(error, InvalidAmount) else f"{name}: found {text!r}, allowed is a number"
            self.fail(f"{found}, or none", param, ctx)
        return name, int(amount) if dimension == TOKENS else amount


@click.command(short_help="Ask what another policy would have decided.")
@store_option
@click.option("--config", "config_file", metavar="FILE", type=_FILE, help="Another resource-limits.yml.")
@click.option("--prices", "prices_file", metavar="FILE", type=_FILE, help="Another prices.yml.")
@click.option(
    "--total",
    "totals",
    type=TotalType(),
    multiple=True,
    help="Another total, like tokens=50000000 or cost_usd=none; once for each dimension.",
)
@json_option
@click.pass_context
def whatif(
    ctx: click.Context,
    store_url: str,
    config_file: Path | None,
    prices_file: Path | None,
    totals: tuple[tuple[str, int | Decimal | None], ...],
    as_json: bool,
) -> None:
    """Decide a log again under another policy, and show what would have been different.

    The facts of the log are kept: what was sent to the fleet, and when. Every decision is made again. The answer says
    which agents would have been throttled, stopped or topped up, and when, how long tasks would have waited, and what
    would have been used. It explains the first decision that differs, and lists all that had to be assumed.

    Without another policy it is a proof: the log's own policy must lead to the log's own decisions, byte for byte. If
    it does not, the first difference is shown and the exit code is 1.

    The store is only read, up to where its log ends now. Another process may be writing it.

    \b
    Examples:
      tallystick whatif
      tallystick whatif --config tighter.yml
      tallystick whatif --total tokens=50000000 --total cost_usd=400 --json
    """
    total = dict(totals)
    if len(total) != len(totals):
        twice = next(name for name, _ in totals if [other for other, _ in totals].count(name) > 1)
        raise click.BadParameter(f"found {twice} twice, allowed is each dimension once", param_hint="'--total'")
    config = None if config_file is None else load(config_file)
    prices = None if prices_file is None else load_prices(prices_file)
    question = Question(config, prices, total)
    # Alerts of the past, and of what never happened, are not for operators.
    structlog.configure(processors=[_drop])
    with reading(store_url) as store:
        if question.is_empty:
            _check(ctx, store, as_json)
        else:
            names = {"config": config_file, "prices": prices_file}
            _ask(store, question, {name: None if file is None else str(file) for name, file in names.items()}, as_json)


def _drop(*_: object) -> Any:
    raise structlog.DropEvent


class _Log:
    """A store's log as it is when the command begins, and how much of it was read."""

    def __init__(self, store: Store, doing: str) -> None:
        last = store.last()
        if last is None:
            raise click.ClickException(f"there is nothing to decide again at {store.named}: its log is empty")
        self.span = Span(store.named)
        self._records = with_progress(store.read(0, last.position), last.position, doing)

    def steps(self) -> Iterator[Step]:
        """Its steps, in order."""
        for step in steps_of(self._records):
            self.span.take(step)
            yield step


def _check(ctx: click.Context, store: Store, as_json: bool) -> None:
    """Prove that the log's own policy leads to the log's own decisions."""
    log, reproduction = _Log(store, "deciding again"), Reproduction(log=store)
    first: dict[str, Any] | None = None
    for step in log.steps():
        mismatch = reproduction.take(step)
        if mismatch is not None:
            first = explain_mismatch(mismatch, step)
            break
    else:
        reproduction.finish()
    if as_json:
        click.echo(json_text(check_json(log.span, reproduction, first)))
    else:
        _print(show_check(log.span, reproduction, first))
    if first is not None:
        click.echo(f"{ctx.command_path}: {one_line(first['difference'])}", err=True)
        ctx.exit(1)


def _ask(store: Store, question: Question, files: dict[str, str | None], as_json: bool) -> None:
    """Put the log to the other policy."""
    # Under another policy, runs of tasks may start at another time: so they are read beforehand, as is what was
    # corrected later.
    wanted = {STORED_NAME[TaskStarted], STORED_NAME[UsageCorrected]}
    has_runs = any(record.name in wanted for record in store.read())
    runs = RecordedRuns(_Log(store, "reading the runs").steps() if has_runs else ())
    log, rerun, history = _Log(store, "deciding again"), Rerun(question, runs), History()
    first: dict[str, Any] | None = None
    for step in log.steps():
        recorded = rerun.take(step)
        if first is None:
            for event in recorded:
                history.fold(event)
            if rerun.difference is not None:
                first = explain_difference(rerun, history)
    rerun.finish()
    if first is None and rerun.difference is not None:
        first = explain_difference(rerun, history)
    if as_json:
        click.echo(json_text(answer_json(log.span, files, rerun, first)))
    else:
        _print(show_answer(log.span, rerun, first))


def _print(shown: Iterable[str | Table]) -> None:
    screen = console()
    for part in shown:
        if isinstance(part, str):
            click.echo(one_line(part))
        else:
            screen.print(part)
