"""``tallystick audit verify``: the whole log decided anew, and all that is kept beside it compared with it."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from tallystick.audit.deciding import Deciding
from tallystick.audit.findings import ARCHIVES, VIEWS, Findings, findings_json, findings_lines
from tallystick.audit.objects import OddObject, odd_objects
from tallystick.audit.sources import wrong_source
from tallystick.audit.view_rows import Compared as ComparedRows
from tallystick.audit.view_rows import compared_rows
from tallystick.cli.common import (
    KEY_ENVIRONMENT,
    json_option,
    json_text,
    progress_bar,
    reading,
    store_option,
    with_progress,
)
from tallystick.delegation.comparing import Compared
from tallystick.delegation.parent_log import compared_with
from tallystick.events.log.audit import Anchor, Linking, Verification
from tallystick.events.log.broken_chain import BrokenChain
from tallystick.events.log.store import Store, open_store
from tallystick.events.log.store_archives import archives_of
from tallystick.events.log.store_place import is_postgres
from tallystick.events.log.store_segments import VIEW_BEFORE
from tallystick.projections.store.runner import Place, are_kept, open_view_store, place_of
from tallystick.projections.store.view_file import ViewFile
from tallystick.projections.store.view_store import NotKept
from tallystick.wording import one_line


class AnchorType(click.ParamType[Anchor]):
    """``POSITION:DIGEST``."""

    name = "POSITION:DIGEST"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Anchor:
        try:
            return Anchor.read(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(short_help="Prove the whole log.")
@store_option
@click.option("--quick", is_flag=True, help="The chain of digests and the anchors alone.")
@click.option("--anchor", type=AnchorType(), help="What `audit anchor` printed earlier.")
@click.option(
    "--anchor-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Many such, one a line."
)
@click.option("--parent", metavar="URL", help="The parent's store or server: both logs must say the same.")
@click.option("--parent-key", metavar="KEY", envvar=KEY_ENVIRONMENT, show_envvar=True, help="With a server: its key.")
@json_option
@click.pass_context
def verify(
    ctx: click.Context,
    store_url: str,
    quick: bool,
    anchor: Anchor | None,
    anchor_file: Path | None,
    parent: str | None,
    parent_key: str | None,
    as_json: bool,
) -> None:
    """Prove the whole log from its first record; exit with 1 and the first bad position where something is wrong.

    Nothing that is stored is trusted but the messages: everything is decided again, and each number, reason and reply
    must be the recorded one. What specialists judged (where a task was placed, which budget was moved, what was
    forecast) is taken from the log, and checked as it was when it was decided. Proved are also the chain of digests,
    that all money is where the accounts say it is, the snapshots, every row of every view, and what is defined in the
    files as SQL.

    What was decided by another version of the rules is not decided again: there the chain, conservation and the replay
    are proved, and the result says which was which. With --quick nothing is decided or replayed.

    A log cannot show by itself that its tail was cut off, or that all of it was written anew. Keep an anchor outside,
    now and then, and hand it in.

    With --parent, the log of a fleet whose total comes from a parent is compared with the parent's: grants, returns and
    what was used, number by number. What is still under way is no contradiction.

    \b
    Examples:
      tallystick audit verify
      tallystick audit verify --store sqlite:///team.db --parent sqlite:///top.db
      tallystick audit verify --json
      tallystick audit verify --anchor-file anchors.txt
    """
    anchors = [] if anchor is None else [anchor]
    if anchor_file is not None:
        anchors += _anchors_of(anchor_file)
    with reading(store_url) as store:
        findings = _found(store, anchors, quick)
        against = None if parent is None else compared_with(store, parent, parent_key)
    if as_json:
        both = {} if against is None else {"parent": against.json()}
        click.echo(json_text({**findings_json(findings), **both}))
    else:
        lines = [*findings_lines(findings), *(() if against is None else _parent_lines(against))]
        click.echo("\n".join(map(one_line, lines)))
    wrong = [*filter(None, [findings.first]), *(() if against is None else against.problems)]
    if wrong:
        click.echo(f"{ctx.command_path}: {one_line(wrong[0])}", err=True)
        ctx.exit(1)


def _parent_lines(against: Compared) -> Iterator[str]:
    for text in (*against.lines(), *against.problems):
        yield f"{'parent':<15} {text}"
    yield f"{'parent':<15} {'both logs say the same' if not against.problems else 'the logs contradict each other'}"


def _found(store: Store, anchors: list[Anchor], quick: bool) -> Findings:
    place = place_of(store.url)
    keeps_views = are_kept(store.url)
    # Views and snapshots are read first: a writer at work may add some, but none of these is from behind the end.
    marks = [*anchors, *(_views(store) if keeps_views else ()), *_archives(place)]
    snapshots = store.snapshots()
    last = store.last()
    end = 0 if last is None else last.position
    deciding = None if quick else Deciding({position for position, _ in snapshots}, store)
    verification = Verification(snapshots, marks, Linking() if deciding is None else deciding)
    report = verification.run(with_progress(store.read(0, end), end, "verifying"))
    rows = ComparedRows()
    if not quick and not report.problems and keeps_views:
        rows = _rows(store)
    stray = store.stray()
    if stray is None and deciding is not None and not report.problems:
        stray = wrong_source(store.sources, deciding.reproduction.sources, end)
    return Findings(
        report=report,
        anchors=len(anchors),
        deciding=deciding,
        stray=stray,
        rows=rows,
        objects=list(_objects(store.url, place)),
    )


def _rows(store: Store) -> ComparedRows:
    try:
        return compared_rows(store, progress_bar("comparing the views"))
    except (NotKept, BrokenChain) as error:
        return ComparedRows(skipped=(f"the views could not be compared: {error}",))


def _objects(url: str, place: Place | None) -> Iterator[OddObject]:
    """What is defined otherwise than we define it, in the log's file and in that of the views, or in their database."""
    if is_postgres(url):
        from tallystick.audit.database_objects import odd_objects_of_database

        yield from odd_objects_of_database(url)
    if place is None:
        return
    with contextlib.suppress(sqlite3.Error):
        yield from odd_objects(
            place.log, lambda path: open_store(f"sqlite:///{path}", writer=True).close(), [VIEW_BEFORE]
        )
    if Path(place.views).exists():
        with contextlib.suppress(sqlite3.Error):
            yield from odd_objects(Path(place.views), lambda path: ViewFile(path).close())


def _views(store: Store) -> list[Anchor]:
    """What the views say they have followed: no proof, because they lie beside the log, but a careless cut shows."""
    try:
        with contextlib.closing(open_view_store(store.url)) as views:
            position, digest, _ = views.whole(())
        return [Anchor.read(f"{position}:{digest}")._replace(by=VIEWS)] if position else []
    except (NotKept, ValueError):
        return []


def _archives(place: Place | None) -> list[Anchor]:
    """What the store says of its archives: a record behind one shows that it ends as it did."""
    if place is None:
        return []
    return [Anchor(one.upto, bytes.fromhex(one.digest), ARCHIVES) for one in archives_of(place.log)]


def _anchors_of(file: Path) -> list[Anchor]:
    """The anchors of a file, one a line; blank lines are passed over.

    Raises:
        BadParameter: a line is none; its number is named.
    """
    anchors = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if line.strip():
            try:
                anchors.append(Anchor.read(line))
            except ValueError as error:
                raise click.BadParameter(f"{file}:{number}: {error}", param_hint="'--anchor-file'") from None
    return anchors
