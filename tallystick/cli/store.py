"""``tallystick store``: what a fleet's store is, and a copy of it that can be trusted."""

import datetime as dt
import os
import re
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from tallystick.cli.common import MomentType, json_option, json_text, reading, store_option, with_progress
from tallystick.cli.store_growth import growth_lines, growth_of, kinds_of
from tallystick.events.decide.answers import stamp
from tallystick.events.log.codec import digest_of
from tallystick.events.log.store import Record, Store, open_store
from tallystick.events.log.store_archive_file import Archive, file_beside
from tallystick.events.log.store_archives import archives_of
from tallystick.events.log.store_archiving import archive as archive_records
from tallystick.events.log.store_backup import Writer, back_up, last_writer
from tallystick.events.log.store_contract import Counted
from tallystick.events.log.store_place import file_of, is_postgres, shown
from tallystick.events.log.store_sqlite import SqliteStore
from tallystick.events.log.store_transfer import restore as restore_fleet
from tallystick.moments import Moment
from tallystick.projections.store.as_of import position_by
from tallystick.projections.store.projector import event_in
from tallystick.projections.store.runner import place_of
from tallystick.wording import one_line

_HOLDER = re.compile(r"process (\d+) on (.*)")


@click.group()
def store() -> None:
    """Say what a fleet's store is, and copy it while the fleet runs.

    \b
    Example:
      tallystick store info
    """


@store.command(short_help="Say what a fleet's store is.")
@store_option
@click.option("--kinds", is_flag=True, help="Also count the events and bytes of each kind: reads the whole log.")
@json_option
def info(store_url: str, kinds: bool, as_json: bool) -> None:
    """Say what a fleet's store is: where it lies, how far its log goes, how fast it grows, and who writes it.

    Growth is counted by the log's own times, in days of UTC; the average leaves out the newest day, which is not over.

    Two stores with the same `fleet` began as one: one is a copy. Stores of different fleets never have the same.

    \b
    Examples:
      tallystick store info
      tallystick store info --kinds
      tallystick store info --store sqlite:///copy.db --json
    """
    with reading(store_url) as opened:
        found = _described(opened, file_of(store_url))
        if kinds:
            found["kinds"] = kinds_of(opened)
    if as_json:
        click.echo(json_text(found))
        return
    for name, line in _lines(found):
        click.echo(f"{name:<10} {one_line(line)}")


def _described(opened: Store, file: Path | None) -> dict[str, Any]:
    first, last = opened.record(1), opened.last()
    found: dict[str, Any] = {
        "store": shown(opened.url),
        "file": None if file is None else str(file),
        "bytes": None if file is None else _size(file),
        "fleet": None if first is None else digest_of(first.data).hex(),
        "records": 0 if last is None else last.position,
        "first_at": _time(first),
        "last_at": _time(last),
        "digest": None if last is None else digest_of(last.data).hex(),
        "snapshots": [position for position, _ in opened.snapshots()],
    }
    growth = growth_of(opened)
    found["days"] = {} if growth is None else growth.days
    found["events_per_day"] = None if growth is None else growth.events_per_day
    if is_postgres(opened.url):
        from tallystick.cli.store_database import described_in_database

        return found | described_in_database(opened.url)
    if file is None:
        return found
    archives = archives_of(file)
    found["archives"] = [_archive(file, archive) for archive in archives]
    kept = found["records"] - (archives[-1].upto if archives else 0)
    found["bytes_per_day"] = None if growth is None else found["bytes"] * growth.events_per_day // kept
    writer, place = last_writer(file), place_of(opened.url)
    views = None if place is None or not Path(place.views).exists() else place.views
    found["writer"] = None if writer is None else {**writer._asdict(), "runs": _runs(writer)}
    found["copied"] = writer is not None and writer.place not in (None, str(file))
    return found | {"views": views, "views_bytes": None if views is None else _size(Path(views))}


def _archive(store: Path, archive: Archive) -> dict[str, Any]:
    return {
        "file": str(file_beside(store, archive.first, archive.upto)),
        "first": archive.first,
        "upto": archive.upto,
        "bytes": archive.size,
        "sha256": archive.sha256,
        "anchor": archive.anchor,
        "archived_at": archive.archived_at,
    }


def _size(file: Path) -> int:
    """Bytes of a file, and of SQLite's own beside it."""
    beside = (file.with_name(file.name + suffix) for suffix in ("", "-wal"))
    return sum(one.stat().st_size for one in beside if one.exists())


def _time(record: Record | None) -> str | None:
    return None if record is None else stamp(event_in(record, record.position).at)


def _runs(writer: Writer) -> bool | None:
    """Whether a process of that number runs; None where it is (or was) on another machine."""
    match = _HOLDER.fullmatch(writer.holder)
    if match is None or match[2] != socket.gethostname():
        return None
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        return True
    return True


_WRITER = {
    True: "{holder}, since {since}, which is running",
    False: "none now; {holder} was the last, since {since}",
    None: "{holder} was the last, since {since}",
}


def _lines(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "store", found["store"]
    if found["bytes"] is not None:
        yield "size", f"{found['bytes']:,} bytes"
    if (database := found.get("database")) is not None:
        fleets = f"{database['fleets']:,} fleet{'' if database['fleets'] == 1 else 's'}"
        yield "database", f"{database['name']}: {fleets}, whose tables have {database['bytes']:,} bytes in all"
    if not found["records"]:
        yield "log", "empty: no fleet has begun here"
        return
    yield "fleet", found["fleet"]
    yield "log", f"{found['records']:,} records, {found['first_at']} to {found['last_at']}"
    yield "head", f"{found['records']}:{found['digest']}"
    for archive in found.get("archives", ()):
        span = f"{archive['first']:,} to {archive['upto']:,}"
        yield "archive", f"records {span}, {archive['bytes']:,} bytes: {archive['file']}"
    yield from growth_lines(found)
    yield "snapshots", ", ".join(f"at {position:,}" for position in found["snapshots"]) or "none"
    writer = found.get("writer")
    if writer is not None:
        yield "writer", _WRITER[writer["runs"]].format(**writer)
    if writer is not None and found["copied"]:
        yield "copy", f"it was last written as {writer['place']}: this file is a copy of that one, or was moved"
    if found.get("views"):
        yield "views", f"{found['views']}, {found['views_bytes']:,} bytes"


@store.command(short_help="Copy a fleet, also while it runs.")
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@json_option
def backup(file: Path, store_url: str, as_json: bool) -> None:
    """Copy a fleet, as it is at one moment, into FILE, and prove the copy as `audit verify` does.

    The fleet may run meanwhile, and does not wait. FILE must not exist; it appears only when it is whole, on the disk
    and proved. Archives are copied beside it. Views are not copied: they are made again when they are read. To copy the
    file by other means while the fleet runs is not safe: what is newest lies in the file -wal beside it.

    Of a fleet in PostgreSQL, FILE has this one fleet: it is a store as sqlite:///FILE, and `store restore` puts it into
    a database again.

    \b
    Example:
      tallystick store backup /media/elsewhere/fleet-monday.db
    """
    report = back_up(store_url, file, _watched("copying and proving"))
    head = f"{report.events}:{report.digest.hex()}"
    if as_json:
        click.echo(json_text({"file": str(file.resolve()), "records": report.events, "head": head}))
    else:
        click.echo(f"copied {report.events:,} records to {file}; the copy is sound\nhead {head}")


@store.command(short_help="Put a fleet's file into a database.")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@store_option
@json_option
def restore(file: Path, store_url: str, as_json: bool) -> None:
    """Put the fleet of FILE, a backup or any SQLite store, into the PostgreSQL database that --store names.

    FILE is proved first, as `audit verify` does. No fleet of that name may be there yet; all of it is there afterwards,
    or nothing. FILE stays as it is: do not run both, each would grant the whole budget.

    \b
    Example:
      tallystick store restore monday.db --store 'postgresql://db.example/ops?fleet=research'
    """
    report = restore_fleet(file.resolve(), store_url, _watched("proving and copying"))
    head = f"{report.events}:{report.digest.hex()}"
    if as_json:
        click.echo(json_text({"store": shown(store_url), "records": report.events, "head": head}))
    else:
        click.echo(f"restored {report.events:,} records to {shown(store_url)}\nhead {head}")


@store.command(short_help="Move old records into a compressed file.")
@click.option("--before", type=MomentType(), required=True, help="Records from before this time, or position.")
@store_option
@json_option
def archive(before: Moment, store_url: str, as_json: bool) -> None:
    """Move old records into a compressed file beside the store, which every command still reads.

    The fleet must not run meanwhile. The archive is proved and read again before the records leave the store; it is
    named after the store, and belongs beside it: a fleet does not open without it. Its anchor is worth keeping outside.

    \b
    Examples:
      tallystick store archive --before 2026-01-01
      tallystick store archive --before 2026-03-04T12:00 --store sqlite:////var/lib/fleet.db
    """
    if is_postgres(store_url):
        raise click.ClickException(
            f"{shown(store_url)} has no archives: records in a database stay in their table, where every machine can"
            " read them; for a compressed copy, archive one that `store backup` has made"
        )
    with reading(store_url) as opened:
        upto = _before(opened, before)
    if file_of(store_url) is None:
        raise click.ClickException("a store in memory has no archives")
    writing = open_store(store_url, writer=True)
    try:
        assert isinstance(writing, SqliteStore)
        found = archive_records(writing, upto, dt.datetime.now(dt.UTC), _watched("archiving"))
    finally:
        writing.close()
    if as_json:
        built = None if found is None else _archive(Path(writing.path), found.archive)
        click.echo(json_text({"archived": built}))
    elif found is None:
        click.echo("there is nothing to archive: no records from before then are left in the store, but the newest")
    else:
        made = found.archive
        click.echo(f"moved {made.upto - made.first + 1:,} records to {found.file}, {made.size:,} bytes")
        click.echo(f"anchor {made.anchor}")


def _before(opened: Store, before: Moment) -> int:
    if before.time is not None:
        return position_by(opened, before.time, before=True)
    assert before.position is not None
    return before.position - 1


def _watched(doing: str) -> Counted:
    def counted(records: Iterable[Record], total: int) -> Iterable[Record]:
        return with_progress(records, total, doing)

    return counted
