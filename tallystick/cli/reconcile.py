"""``tallystick reconcile``: a provider's bill beside what agents reported, and what makes the two equal."""

import datetime as dt
import os
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from tallystick.cli.common import (
    KEY_ENVIRONMENT,
    is_served,
    json_option,
    json_text,
    reading,
    reads_option,
    with_progress,
)
from tallystick.cli.import_targets import Place, asking
from tallystick.cli.reconcile_shown import as_json_of, show, show_orders
from tallystick.cli.send import this_user
from tallystick.events.log.codec import decode_command
from tallystick.events.log.restoring import open_ledger
from tallystick.reconcile.billed import BillError
from tallystick.reconcile.books import Books
from tallystick.reconcile.formats import FORMATS
from tallystick.reconcile.orders import Message, messages_of
from tallystick.reconcile.running import Reconciliation
from tallystick.reconcile.running import reconcile as reconciled
from tallystick.wording import counted, one_line

_REFUSALS_SHOWN: Final = 20
_TOGETHER: Final = 200
"""So many messages are sent at once: as long as they may be, a control socket takes them."""


@click.command(short_help="Lay a provider's bill beside what was reported.")
@click.option(
    "--bill",
    "bills",
    metavar="FILE",
    multiple=True,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The bill, or one of its files: usage and costs of the same time belong together.",
)
@click.option("--format", "form", type=click.Choice(sorted(FORMATS)), help="Its format, where it is not found.")
@click.option("--apply", "applies", is_flag=True, help="Correct and book what differs, after a person agreed.")
@click.option("--yes", is_flag=True, help="With --apply: a person has agreed already.")
@reads_option
@json_option
def reconcile(
    bills: tuple[Path, ...], form: str | None, applies: bool, yes: bool, store_url: str, as_json: bool
) -> None:
    """Lay a provider's bill beside what agents reported: what matches, what is priced differently, what was billed and
    not reported, what was reported and not billed, and why.

    A bill is an export of usage or costs of OpenAI or Anthropic, OpenRouter's activity, the spend logs of LiteLLM, or a
    file of FOCUS. Calls are found by their ids, sums by day and model, and by key and agent where both sides know them.

    With --apply the books become equal to the bill: reports are corrected, and what no agent has reported is booked.
    What would be done is shown first, and a terminal is asked. Done twice, it changes nothing. Where the fleet has an
    operator's key, it is needed, in $TALLYSTICK_OPERATOR_KEY.

    \b
    Examples:
      tallystick reconcile --bill usage.json --bill costs.json
      tallystick reconcile --bill activity.csv --json
      tallystick reconcile --bill spend-logs.jsonl --apply
    """
    if yes and not applies:
        raise click.UsageError("--yes is for --apply")
    if applies and not yes and not sys.stdin.isatty():
        raise click.UsageError(
            "--apply changes the books: on a terminal it asks, elsewhere --yes says that a person agreed"
        )
    with closing(Books()) as books:
        now = dt.datetime.now(dt.UTC)
        found = _reconciled(store_url, bills, form, books, now)
        # The messages are made anew each time they are needed, and not kept: there may be many.
        count = sum(1 for _ in messages_of(found, now))
        if not as_json:
            show(found)
            show_orders(found, messages_of(found, now), count, applies)
        applied = None
        if applies and count and (yes or click.confirm("Do this?", err=True)):
            applied = _apply(messages_of(found, now), count, store_url)
        if as_json:
            click.echo(json_text(as_json_of(found, messages_of(found, now), applied)))
        elif applied is not None:
            click.echo(f"Done: {counted(applied, 'message')}.")
        elif applies and count:
            click.echo("Nothing was changed.")


def _reconciled(
    store_url: str, bills: tuple[Path, ...], form: str | None, books: Books, now: dt.datetime
) -> Reconciliation:
    """What came of the bill, with the log up to its end at this moment.

    Raises:
        ClickException: a file cannot be read as a bill.
        StoreError: the store cannot be read.
    """
    with reading(store_url) as store:
        last = store.last()
        end = 0 if last is None else last.position
        rules = open_ledger(store).ledger.rules
        records = with_progress(store.read(0, end), end, "reading the log")
        try:
            return reconciled(bills, form, records, rules, books, now)
        except BillError as error:
            raise click.ClickException(one_line(str(error))) from None


def _apply(orders: Iterator[Message], count: int, store_url: str) -> int:
    """Send what is to be done; how much of it was.

    Raises:
        ClickException: something was refused, or the fleet cannot be reached; what was done before stays.
    """
    server = store_url if is_served(store_url) else None
    key = os.environ.get(KEY_ENVIRONMENT) or None
    done, refused = 0, []
    with asking(Place(store_url, None, None, server, key, this_user())) as ask:
        messages = with_progress(orders, count, "applying")
        while batch := list(islice(messages, _TOGETHER)):
            commands: list[Any] = [decode_command(msgspec.json.encode(message)) for message in batch]
            answers = ask(commands)
            for message, answer in zip(batch, answers, strict=True):
                error = answer.get("error")
                if error is None:
                    done += 1
                else:
                    refused.append(f"{message['type']}: {error['code']}: {error.get('detail', '')}")
    if refused:
        shown = "; ".join(refused[:_REFUSALS_SHOWN])
        rest = f" and {len(refused) - _REFUSALS_SHOWN:,} more" if len(refused) > _REFUSALS_SHOWN else ""
        raise click.ClickException(one_line(f"{done:,} of {count:,} were done; refused: {shown}{rest}"))
    return done
