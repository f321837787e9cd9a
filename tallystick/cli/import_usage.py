"""``tallystick import``: past usage out of files that tools and providers write."""

import datetime as dt
import secrets
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import click

from tallystick.cli.common import config_option, json_option, prices_option, server_options, store_option
from tallystick.cli.import_preview import preview_of, recorded_in
from tallystick.cli.import_progress import reading, reporting
from tallystick.cli.import_summary import show
from tallystick.cli.import_targets import Place, asking
from tallystick.cli.send import check_place, this_user
from tallystick.config.kinds import NAME_MAX
from tallystick.importing import anthropic, claude_code, codex, litellm, openai, openrouter, trace
from tallystick.importing.files import Opened, files_below, size_of
from tallystick.importing.notes import Notes
from tallystick.importing.recorded import under_known_sources
from tallystick.importing.reporting import Outcome, report
from tallystick.importing.staging import Staging, StagingError
from tallystick.importing.used import Used
from tallystick.moments import read_moment
from tallystick.wording import one_line

Read = Callable[[Opened], Iterator[Used]]
Command = Callable[..., Any]
_IN_FILE: Final = click.Path(exists=True, dir_okay=False, path_type=Path)
_IN_FOLDER: Final = click.Path(exists=True, path_type=Path)


@click.group("import", short_help="Take over past usage out of files of tools and providers.")
def import_usage() -> None:
    """Take over past usage out of files that tools and providers write, with its own dates.

    Each call counts once, however often it is imported, in how many files it stands, and also where telemetry or an
    agent has reported it. Prompts and replies are not read. See --help of each kind of file.

    \b
    Examples:
      tallystick import claude-code ~/.claude/projects --dry-run
      tallystick import claude-code ~/.claude/projects
      tallystick import litellm spend-logs.jsonl --url http://127.0.0.1:8321
    """


def _options(function: Command) -> Command:
    """The options of every kind of file."""
    for option in (
        json_option,
        click.option("--dry-run", is_flag=True, help="Only say what would be imported."),
        click.option(
            "--agent", metavar="NAME", help="The account that all of it is of, in place of those in the files."
        ),
        server_options,
        prices_option,
        config_option,
        store_option,
    ):
        function = option(function)
    return function


_rate_option = click.option(
    "--rate",
    "rates",
    metavar="CURRENCY=DOLLARS",
    multiple=True,
    help="What one of another currency is in US dollars, such as EUR=1.08; for each that a file has.",
)


@import_usage.command("claude-code", short_help="Sessions of Claude Code.")
@click.argument("paths", metavar="DIR...", nargs=-1, required=True, type=_IN_FOLDER)
@_options
@click.pass_context
def import_claude_code(ctx: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Import the sessions of Claude Code below DIR, such as ~/.claude/projects, with those of sub-agents.

    The account is claude-code/PROJECT; session, branch, project and sub-agent are labels.

    \b
    Examples:
      tallystick import claude-code ~/.claude/projects --dry-run
    """
    notes = Notes()
    files = files_below(paths, claude_code.ENDINGS, notes)
    _import(ctx, notes, files, lambda _: claude_code.read, options)


@import_usage.command("codex", short_help="Sessions of Codex.")
@click.argument("paths", metavar="DIR...", nargs=-1, required=True, type=_IN_FOLDER)
@_options
@click.pass_context
def import_codex(ctx: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Import the sessions of Codex below DIR, such as ~/.codex, which has archived ones as well.

    The account is codex/PROJECT; session, branch, project and sub-agent are labels.

    \b
    Examples:
      tallystick import codex ~/.codex
    """
    notes = Notes()
    files = files_below(paths, codex.ENDINGS, notes)
    sessions = codex.sessions_of(files)
    _import(ctx, notes, files, lambda _: lambda file: codex.read(file, sessions), options)


@import_usage.command("litellm", short_help="Spend logs of LiteLLM.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_IN_FILE)
@_options
@click.pass_context
def import_litellm(ctx: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Import spend logs of LiteLLM: rows of LiteLLM_SpendLogs (CSV, JSON lines or JSON), or what /spend/logs returns.

    What a call cost is taken as LiteLLM says. The account is litellm/ and the agent, the name of the key, the user or
    the team; user, team, end_user, tag, session and key are labels.

    \b
    Examples:
      tallystick import litellm spend-logs.jsonl
    """
    _import(ctx, Notes(), list(paths), lambda _: litellm.read, options)


@import_usage.command("openai", short_help="Usage or costs that OpenAI says.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_IN_FILE)
@_rate_option
@_options
@click.pass_context
def import_openai(ctx: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Import usage or costs that OpenAI's administration interface returns: pages of buckets, or rows of them as CSV.

    They are sums without ids of calls: for projects whose agents do not report by themselves. The account is
    openai/PROJECT; project, user, key, service_tier and batch are labels.

    \b
    Examples:
      tallystick import openai usage.json
      tallystick import openai costs.json --rate EUR=1.08
    """
    now = _now()
    _import(ctx, Notes(), list(paths), lambda _: lambda file: openai.read(file, now), options)


@import_usage.command("anthropic", short_help="Usage or costs that Anthropic says.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_IN_FILE)
@_rate_option
@_options
@click.pass_context
def import_anthropic(ctx: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Import usage or costs that Anthropic's administration interface returns: pages of buckets.

    They are sums without ids of calls: for workspaces whose agents do not report by themselves. The account is
    anthropic/WORKSPACE; workspace, key, service_tier and context_window are labels.

    \b
    Examples:
      tallystick import anthropic usage.json
    """
    now = _now()
    _import(ctx, Notes(), list(paths), lambda _: lambda file: anthropic.read(file, now), options)


@import_usage.command("openrouter", short_help="Activity of OpenRouter.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_IN_FILE)
@_options
@click.pass_context
def import_openrouter(ctx: click.Context, /, paths: tuple[Path, ...], **options: Any) -> None:
    """Import the activity that OpenRouter exports as CSV.

    What a call cost is taken as OpenRouter says. The account is openrouter/APP; app, provider and key are labels.

    \b
    Examples:
      tallystick import openrouter activity.csv
    """
    _import(ctx, Notes(), list(paths), lambda _: openrouter.read, options)


@import_usage.command("trace", short_help="A usage trace in CSV.")
@click.argument("paths", metavar="FILE...", nargs=-1, required=True, type=_IN_FILE)
@click.option("--begins", metavar="TIME", help="When it began, where timestamp_s counts from its beginning.")
@_options
@click.pass_context
def import_trace(ctx: click.Context, /, paths: tuple[Path, ...], begins: str | None, **options: Any) -> None:
    """Import a usage trace with the columns of `tallystick demo --trace`.

    The account is the agent that a row names; run and product are labels.

    \b
    Examples:
      tallystick import trace runs.csv --begins 2026-03-04T12:00:00Z
    """
    began = None
    if begins is not None:
        moment = read_moment(begins)
        began = None if moment is None else moment.time
        if began is None:
            raise click.BadParameter(
                f"found {begins[:60]!r}, allowed is a time like 2026-03-04T12:00:00Z", param_hint="'--begins'"
            )
    _import(ctx, Notes(), list(paths), lambda staging: lambda file: trace.read(file, began, staging.nth), options)


def _import(
    ctx: click.Context,
    notes: Notes,
    files: list[Path],
    reader: Callable[[Staging], Read],
    options: dict[str, Any],
) -> None:
    """Read the files, bring together what they say, and report it; nothing is reported before all is read."""
    check_place(ctx, options["url"])
    agent, rates = _agent(options["agent"]), _rates(options.get("rates", ()))
    try:
        with Staging(notes) as staging:
            read = reader(staging)
            with reading(size_of(files)) as moved:
                for file in files:
                    for used in read(Opened(file, notes, moved)):
                        staging.take(used)
            _check_sums(notes)
            _check_rates(staging, rates)
            notes.calls = staging.count()
            outcome = Outcome()
            with recorded_in(options, notes) as find:
                uses = reporting(under_known_sources(staging.oldest_first(), find), notes.calls)
                cost = _report(uses, notes.calls, agent, rates, outcome, options)
    except StagingError as error:
        raise click.ClickException(str(error)) from None
    show(notes, outcome, rates, cost, options["dry_run"], options["as_json"])
    if outcome.refused or (notes.unreadable and not notes.calls):
        ctx.exit(1)


def _report(
    uses: Iterator[Used],
    count: int,
    agent: str | None,
    rates: dict[str, Decimal],
    outcome: Outcome,
    options: dict[str, Any],
) -> int | None:
    """Report uses, or look what would become of them: then the answer is what would be recorded as costs."""
    prefix = f"import-{secrets.token_hex(6)}"
    if not count:
        return None
    if options["dry_run"]:
        with preview_of(options, _now()) as preview:
            report(uses, preview.ask, agent, rates, prefix, outcome)
            return preview.cost_nanos
    files = options["config_file"], options["prices_file"]
    place = Place(options["store_url"], *files, options["url"], options["key"], this_user())
    with asking(place) as ask:
        report(uses, ask, agent, rates, prefix, outcome)
    return None


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


def _agent(name: str | None) -> str | None:
    if name is not None and not 1 <= len(name) <= 128:
        raise click.BadParameter("allowed is a name of 1 to 128 characters", param_hint="'--agent'")
    return name


def _rates(given: tuple[str, ...]) -> dict[str, Decimal]:
    rates = {}
    for text in given:
        currency, _, said = text.partition("=")
        try:
            rate = Decimal(said)
        except InvalidOperation:
            rate = Decimal(0)
        if not currency.isalpha() or not rate.is_finite() or rate <= 0:
            raise click.BadParameter(f"found {text[:60]!r}, allowed is one like EUR=1.08", param_hint="'--rate'")
        rates[currency.upper()] = rate
    return rates


def _check_sums(notes: Notes) -> None:
    """Costs and usage of one time are the same money: usage is priced.

    Raises:
        UsageError: there are both.
    """
    if len(notes.kinds) > 1:
        usage, costs = notes.kinds["usage"], notes.kinds["costs"]
        raise click.UsageError(f"{usage} has tokens and {costs} what they cost: import one of them, or it counts twice")


def _check_rates(staging: Staging, rates: dict[str, Decimal]) -> None:
    """Every amount can be said in dollars.

    Raises:
        UsageError: a rate is missing.
    """
    for currency, place in staging.currencies().items():
        if currency not in rates:
            shown = one_line(currency[:NAME_MAX])
            raise click.UsageError(f"{place}: an amount in {shown}: name --rate {shown}=DOLLARS")
