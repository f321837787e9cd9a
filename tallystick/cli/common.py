"""What the commands share: options, moments, stores, progress, and words that are safe to show."""

import contextlib
import datetime as dt
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tallystick.config import loader
from tallystick.config import prices as price_files
from tallystick.config.found import config_for, prices_for
from tallystick.config.prices import PriceList, far_from_published
from tallystick.config.published import published_prices
from tallystick.config.settings import Config
from tallystick.events.log.replaying import Replay, replay_until
from tallystick.events.log.store import Store, open_store
from tallystick.moments import ALLOWED, Moment, read_moment
from tallystick.projections.views.view import Progress as ShowProgress
from tallystick.wording import one_line

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_STORE = "sqlite:///tallystick.db"
KEY_ENVIRONMENT = "TALLYSTICK_KEY"
_WIDE = 10_000
_PATIENCE_SECONDS = 1.0
_STEP = 500
_NICENESS = 10


# --- options ---------------------------------------------------------------------------------------------------------


class MomentType(click.ParamType[Moment]):
    """``POSITION``, or a time: RFC 3339, or shorter: a date (its midnight), a minute, without a zone UTC."""

    name = "POSITION|TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Moment:
        if isinstance(value, Moment):
            return value
        found = read_moment(str(value))
        if found is None:
            self.fail(f"found {str(value)!r:.100}, allowed is {ALLOWED}", param, ctx)
        return found


def store_option(function: Command) -> Command:
    """``--store URL``."""
    return click.option(
        "--store",
        "store_url",
        metavar="URL",
        default=DEFAULT_STORE,
        envvar="TALLYSTICK_STORE",
        is_eager=True,
        show_default=True,
        show_envvar=True,
        help="Where the fleet is kept.",
    )(function)


def reads_option(function: Command) -> Command:
    """``--store URL``, and ``--url URL`` for a server in its place: for commands that only read."""

    def take(ctx: click.Context, _: click.Parameter, url: str | None) -> None:
        if url is None:
            return
        if ctx.get_parameter_source("store_url") is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError("--store and --url: found both, allowed is one")
        if not is_served(url):
            raise click.UsageError(f"--url: found {url[:100]!r}, allowed is one like http://127.0.0.1:8321")
        ctx.params["store_url"] = url

    url_option = click.option(
        "--url",
        metavar="URL",
        expose_value=False,
        callback=take,
        help="A server, in place of a store. $TALLYSTICK_KEY is the key that it is shown.",
    )
    return store_option(url_option(function))


def open_to_read(store_url: str) -> Store:
    """A store that is only read, or the log of a server.

    Raises:
        UsageError: the URL or the key of a server is none.
        StoreError: there is none, or it cannot be read.
    """
    if not is_served(store_url):
        return open_store(store_url)
    from tallystick.client.served_log import ServedLog  # noqa: PLC0415 - httpx is loaded only where it is used

    try:
        return ServedLog(store_url)
    except ValueError as error:
        raise click.UsageError(f"--{error}") from None


def server_options(function: Command) -> Command:
    """``--url URL`` and ``--key KEY``: a server in place of a store, for commands that change something."""
    url = click.option("--url", metavar="URL", help="A server, in place of a store: it is asked over HTTP.")
    key = click.option(
        "--key", metavar="KEY", envvar=KEY_ENVIRONMENT, show_envvar=True, help="For a server: the API key."
    )
    return url(key(function))


def is_served(store_url: str) -> bool:
    """Whether a URL is that of a server, and not of a store."""
    return store_url.startswith(("http://", "https://"))


def config_option(function: Command) -> Command:
    """``--config F``."""
    return click.option(
        "--config",
        "config_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"Settings, in place of ${loader.ENVIRONMENT_VARIABLE} or {loader.PROJECT_FILE}.",
    )(function)


def prices_option(function: Command) -> Command:
    """``--prices F``."""
    return click.option(
        "--prices",
        "prices_file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help=f"Prices, in place of ${price_files.ENVIRONMENT_VARIABLE} or {price_files.PROJECT_FILE}.",
    )(function)


def at_option(function: Command) -> Command:
    """``--at POSITION|TIME``."""
    return click.option("--at", "at", type=MomentType(), help="Show it as it was then.")(function)


def json_option(function: Command) -> Command:
    """``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="For machines: one JSON document.")(function)


# --- stores and settings ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def reading(store_url: str) -> Iterator[Store]:
    """A store that is only read, or the log of a server.

    Raises:
        StoreError: there is none, or it cannot be read.
    """
    store = open_to_read(store_url)
    try:
        yield store
    finally:
        store.close()


class Settings(NamedTuple):
    """What is to be put in force when a fleet is opened: None for what stays as it is."""

    config: Config | None
    prices: PriceList | None


def settings_for(store: Store, config_file: Path | None, prices_file: Path | None) -> Settings:
    """The settings that a command opens a fleet with.

    A new fleet begins with the files that are found, or with what is packaged. One that has begun keeps what is in
    force, unless a file is named: a message sent from some other folder must not change the settings.

    Raises:
        ConfigError: a file cannot be used.
        StoreError: the store cannot be read.
    """
    is_new = store.last() is None
    settings = Settings(config_for(config_file, is_new), prices_for(prices_file, is_new))
    _warn_of_prices(settings)
    return settings


def _warn_of_prices(settings: Settings) -> None:
    """Say which written prices are far from the published ones: they are probably in another unit."""
    if settings.prices is None or not settings.prices.written:
        return
    models = (settings.config or Config()).models.values()
    published = published_prices(dt.datetime.now(dt.UTC).date(), models)
    for warning in far_from_published(PriceList(settings.prices.written, published)):
        click.echo(f"tallystick: warning: {one_line(warning)}", err=True)


def state_then(store: Store, moment: Moment) -> Replay:
    """The state at a moment, replayed from the first record, each proved.

    Raises:
        ClickException: the log does not reach so far.
        BrokenChain: the log is not what was written.
    """
    last = store.last()
    end = 0 if last is None else last.position
    upto = moment.position
    if upto is not None and upto > end:
        raise click.ClickException(f"the log ends at position {end}: there is no position {upto} yet")
    records = with_progress(store.read(0, upto), upto or end, "replaying")
    replay = replay_until(records, moment.time)
    if not replay.ledger.position:
        raise click.ClickException("nothing had been recorded by then: the log begins at position 1")
    return replay


# --- work in the background -------------------------------------------------------------------------------------------


def make_way() -> None:
    """Let other processes go first from now on, where the system can be asked for that."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)


# --- progress --------------------------------------------------------------------------------------------------------


def with_progress(items: Iterable[T], total: int, doing: str) -> Iterator[T]:
    """The items; a bar on stderr tells how far they are where it takes more than a second and a person may look."""
    console = Console(stderr=True)
    if not console.is_terminal or WATCHED_ON.screen is not None:
        yield from items
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    began = time.monotonic()
    shown = False
    with contextlib.ExitStack() as stack:
        bar = Progress(*columns, console=console, transient=True)
        task = bar.add_task(doing, total=total)
        for count, item in enumerate(items, start=1):
            yield item
            if count % _STEP:
                continue
            if not shown and time.monotonic() - began > _PATIENCE_SECONDS:
                stack.enter_context(bar)
                shown = True
            bar.update(task, completed=count)


def progress_bar(doing: str) -> ShowProgress:
    """`with_progress`, for readers that learn only later how many items there are."""

    def progress(items: Iterator[T], total: int) -> Iterator[T]:
        return with_progress(items, total, doing)

    return progress


# --- words -----------------------------------------------------------------------------------------------------------


def json_text(value: Any) -> str:
    """A JSON document as people read it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


class _Watched:
    """The terminal on which a view is shown in place; what it prints is collected first."""

    def __init__(self) -> None:
        self.screen: Console | None = None

    @contextlib.contextmanager
    def put(self, screen: Console) -> Iterator[None]:
        self.screen = screen
        try:
            yield
        finally:
            self.screen = None


WATCHED_ON = _Watched()


def console() -> Console:
    """For tables on stdout: as wide as the terminal, and as wide as the table where it goes elsewhere."""
    if (screen := WATCHED_ON.screen) is not None:
        colours: Literal["256"] | None = "256" if screen.color_system else None
        return Console(
            highlight=False, markup=False, emoji=False, force_terminal=True, width=screen.width, color_system=colours
        )
    terminal = Console(highlight=False, markup=False, emoji=False)
    return terminal if terminal.is_terminal else Console(highlight=False, markup=False, emoji=False, width=_WIDE)


@contextlib.contextmanager
def output(out: Path | None) -> Iterator[BinaryIO]:
    """Where a command writes bytes: stdout, or a file, which appears under its name only when it is whole.

    Until then it lies beside its place as ``NAME.PID.part``. What is no file (a pipe, a device) is written as it is.

    Raises:
        OSError: the file cannot be written.
    """
    if out is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif out.exists() and not out.is_file():
        with out.open("wb") as stream:
            yield stream
    else:
        with _whole(out) as file:
            yield file


@contextlib.contextmanager
def _whole(out: Path) -> Iterator[BinaryIO]:
    target = out.resolve()  # where a link leads, so that the link stays
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        file = part.open("wb")
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(out)) from error
    try:
        with file:
            if target.exists():
                shutil.copymode(target, part)  # who may not read the old one may not read the new one
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def how_it_was_called() -> str:
    """What to type for this program: its name, or where it lies when no shell would find it by name."""
    called = Path(sys.argv[0])
    if called.stem != "tallystick" or shutil.which("tallystick") is not None:
        return "tallystick"
    return shlex.quote(os.path.relpath(called))
