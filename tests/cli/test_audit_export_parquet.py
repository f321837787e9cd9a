"""``audit export --format parquet``: the same table as CSV, with types, in groups, and exact in every reader."""

import ast
import csv
import datetime as dt
import io
import json
import os
import subprocess
import sys
import textwrap
from decimal import Decimal
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tallystick.cli import parquet
from tallystick.cli.columns import COLUMNS, columns_of
from tallystick.cli.parquet import as_parquet
from tallystick.config.amounts import Amounts
from tallystick.config.limits import AccountLimit, Lasting, LimitMax
from tallystick.events import catalog as e
from tests.support.cli import Run
from tests.support.cli_logs import Entry, records_of, sealed, store_of

csv.field_size_limit(2**24)  # the price list of a new fleet is one field, longer than the library's own limit

NOON = dt.datetime(2026, 3, 4, 12, 0, 0, 1, tzinfo=dt.UTC)
TAIL = ("command", "reply", "peer", "trace", "digest")
ODD, MOST = 2**53 + 1, 2**63 - 1
"""The first whole number that no float holds, and the largest that an amount can be."""


def rows_of(parts: list[bytes]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(io.BytesIO(b"".join(parts))).to_pylist()
    return rows


# --- columns ---------------------------------------------------------------------------------------------------------


def test_every_column_has_a_type_of_its_own_kind(run: Run, fleet: Path) -> None:
    run("audit", "export", "--format", "parquet", "--out", "log.parquet")
    schema = pq.read_schema("log.parquet")
    assert schema.names == [*COLUMNS, parquet.BEYOND]
    for name, kind in zip(schema.names, schema.types, strict=True):
        if name == "position" or name.endswith(("tokens", "_ms", "_nanos")):
            assert kind == pa.int64(), name
        elif name == "at" or name.endswith("_at"):
            assert kind == pa.timestamp("us", tz="UTC"), name
        elif name in ("percentage", "pressure"):
            assert kind == pa.float64(), name
        elif name in ("late", "unpriced", "unallocated", "borrowed", "on_demand"):
            assert kind == pa.bool_(), name
        elif name in ("id", "by", "type", "agent", "reason", "numbers", "config", *TAIL):
            assert kind == pa.string(), name


def test_every_log_has_the_same_columns(run: Run, fleet: Path) -> None:
    run("audit", "export", "--format", "parquet", "--out", "log.parquet")
    run("audit", "export", "--format", "parquet", "--after", "999", "--out", "empty.parquet")
    assert pq.read_schema("empty.parquet").equals(pq.read_schema("log.parquet"), check_metadata=True)
    assert pq.read_table("empty.parquet").num_rows == 0


def test_a_table_is_the_same_in_parquet_as_in_csv(run: Run, fleet: Path) -> None:
    def as_text(value: Any) -> str:
        if isinstance(value, dt.datetime):
            return value.isoformat().replace("+00:00", "Z")
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)

    text = run("audit", "export", "--format", "csv").stdout
    run("audit", "export", "--format", "parquet", "--out", "log.parquet")
    rows = pq.read_table("log.parquet").to_pylist()
    assert len(rows) == len(records_of(fleet))
    assert {row.pop(parquet.BEYOND) for row in rows} == {None}
    assert [{name: as_text(value) for name, value in row.items()} for row in rows] == list(
        csv.DictReader(io.StringIO(text, newline=""))
    )


def present(hint: Any) -> Any:
    """A type without its None."""
    return next(kind for kind in get_args(hint) if kind is not NoneType) if NoneType in get_args(hint) else hint


def sample(hint: Any) -> Any:
    """A value of a type, and where it can be, one that is hard to carry."""
    hint = present(hint)
    if get_origin(hint) is Literal:
        return get_args(hint)[0]
    if get_origin(hint) is dict and get_args(hint)[1] is not Any:
        return {'ä"': sample(get_args(hint)[1])}
    if get_origin(hint) in (list, tuple):
        return get_origin(hint)([sample(get_args(hint)[0])])
    if get_origin(hint) is UnionType:
        return sample(get_args(hint)[0])
    if hint is AccountLimit:
        # Not any of its fields goes with any other.
        most = LimitMax(tokens=ODD, cost_usd=Decimal("0.5"))
        return AccountLimit(most, {"label:ä": ("x", "y")}, Lasting(hours=Decimal("1.5"), opens="first_use"))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint is not Amounts:
        return hint(
            **{name: sample(kind) for name, kind in get_type_hints(hint).items() if name in hint.__struct_fields__}
        )
    return {
        int: ODD,
        bool: True,
        float: 0.1,
        str: 'ä, "b"\n\t☃',
        dt.datetime: NOON,
        Amounts: Amounts(ODD, 0, MOST),
        dict: {"a": [ODD, None, {"b": "ä"}]},
    }[get_origin(hint) or hint]


def is_of_several_kinds(hint: Any) -> bool:
    """Whether a field holds now this, now that: a number of tokens or an amount of dollars."""
    return get_origin(hint) in (Union, UnionType) and len({*get_args(hint)} - {NoneType}) > 1


@pytest.mark.parametrize("event", e.CATALOG, ids=lambda event: event.__name__)
def test_each_field_of_each_event_stands_in_its_column_exactly(event: type[e.Event]) -> None:
    hints = {name: kind for name, kind in get_type_hints(event).items() if name in event.__struct_fields__}
    values = (
        {name: sample(kind) for name, kind in hints.items()}
        | {"position": 1}
        | ({"rules": 1} if "rules" in hints else {})
    )
    asked, answered = b'{"type":"Any"}', '{"ok":{"ä":1}}'.encode()
    (row,) = rows_of(list(as_parquet(sealed([Entry(event(**values), asked, answered)]))))
    assert row.pop("type") == event.__struct_config__.tag
    assert (row.pop("command"), row.pop("reply")) == (asked.decode(), answered.decode())
    assert len(row.pop("digest")) == 64
    for name, value in values.items():
        if isinstance(value, Amounts):
            assert tuple(row.pop(f"{name}_{unit}") for unit in Amounts.__struct_fields__) == value.triple
        elif isinstance(value, int | float | str | dt.datetime) and not is_of_several_kinds(hints[name]):
            assert row.pop(name) == value
        else:
            assert json.loads(row.pop(name)) == json.loads(msgspec.json.encode(value))
    assert set(row.values()) <= {None}


def test_a_new_event_brings_its_own_columns() -> None:
    class Probed(e.Event, kw_only=True, tag="probed.v1"):
        agent: str
        depth: int | None = None
        worth: Amounts | None = None
        parts: tuple[str, ...] = ()
        since: dt.datetime | None = None

    found = columns_of((*e.CATALOG, Probed))
    assert {name: kind for name, kind in found.items() if name not in COLUMNS} == {
        "depth": "integer",
        "worth_tokens": "integer",
        "worth_time_ms": "integer",
        "worth_cost_nanos": "integer",
        "parts": "json",
        "since": "time",
    }
    assert tuple(list(found)[-5:]) == TAIL


def test_a_name_that_means_two_things_is_a_bug() -> None:
    class Confused(e.Event, kw_only=True, tag="confused.v1"):
        agent: Union[int, None] = None  # noqa: UP007 - both spellings are read

    with pytest.raises(AssertionError, match=r"Confused\.agent is integer, in another event text"):
        columns_of((*e.CATALOG, Confused))


def test_a_sum_beyond_the_whole_numbers_of_parquet_is_exact_in_a_column_of_its_own(run: Run, tmp_path: Path) -> None:
    amounts = Amounts(tokens=1)
    released = e.BudgetReleased(
        position=3, at=NOON, agent="a", allocated=amounts, consumed=Amounts(tokens=MOST + 1), unused=amounts
    )
    used = [e.UsageReported(position=position, at=NOON, agent="a", tokens=MOST) for position in (1, 2)]
    url = store_of(tmp_path / "much.db", sealed(map(Entry, (*used, released))))
    result = run("audit", "export", "--format", "parquet", "--store", url, "--out", "much.parquet")
    assert result.exit_code == 0, result.stderr
    rows = pq.read_table("much.parquet").to_pylist()
    assert [row["tokens"] for row in rows] == [MOST, MOST, None]
    assert [row[parquet.BEYOND] for row in rows] == [None, None, '{"consumed_tokens": 9223372036854775808}']
    assert rows[2]["consumed_tokens"] is None
    assert rows[2]["allocated_tokens"] == 1
    assert "9223372036854775808" in run("audit", "export", "--format", "csv", "--store", url).stdout


# --- readers ---------------------------------------------------------------------------------------------------------

READERS = {
    "duckdb": """
        import duckdb
        for source in ("'log.parquet'", "read_csv('log.csv', sample_size=-1)"):
            print([row[0] for row in duckdb.sql(f"SELECT tokens FROM {source} ORDER BY position").fetchall()])
        """,
    "polars": """
        import polars as pl
        for log in (pl.read_parquet("log.parquet"), pl.read_csv("log.csv", infer_schema_length=None)):
            print(log["tokens"].to_list())
        """,
    "pandas": """
        import pandas as pd
        for log in (
            pd.read_parquet("log.parquet", dtype_backend="pyarrow"),
            pd.read_csv("log.csv", dtype_backend="pyarrow", low_memory=False),
        ):
            print(log["tokens"].astype(object).where(log["tokens"].notna(), None).tolist())
        """,
}
"""Each as the how-to reads; in a process of its own, as an analyst does."""


@pytest.mark.parametrize("reader", READERS)
def test_whole_numbers_are_exact_however_large(run: Run, tmp_path: Path, reader: str) -> None:
    used: list[e.Event] = [
        e.UsageReported(position=position, at=NOON, agent="a", tokens=tokens)
        for position, tokens in ((1, ODD), (2, 0), (3, MOST))
    ]
    url = store_of(tmp_path / "large.db", sealed(map(Entry, (*used, e.AgentHeard(position=4, at=NOON, agent="a")))))
    for form in ("parquet", "csv"):
        run("audit", "export", "--format", form, "--store", url, "--out", f"log.{form}")
    program = [sys.executable, "-c", textwrap.dedent(READERS[reader])]
    done = subprocess.run(program, cwd=tmp_path, stdout=subprocess.PIPE, text=True, check=True)
    assert [ast.literal_eval(line) for line in done.stdout.splitlines()] == [[ODD, 0, MOST, None]] * 2


# --- groups, pipes, what is missing ----------------------------------------------------------------------------------


def test_a_group_ends_when_it_has_its_size_and_all_rows_are_there_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    records = sealed(Entry(e.AgentHeard(position=position, at=NOON, agent="a")) for position in range(1, 7_001))
    monkeypatch.setattr(parquet, "GROUP_BYTES", 1_000_000)
    parts = list(as_parquet(records))
    file = pq.ParquetFile(io.BytesIO(b"".join(parts)))
    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    assert sizes == [2_000, 2_000, 2_000, 1_000]
    assert file.read(["position"])["position"].to_pylist() == list(range(1, 7_001))
    with pytest.raises(pa.ArrowInvalid):
        pq.read_table(io.BytesIO(b"".join(parts[:-1])))


@pytest.mark.skipif(sys.platform == "win32", reason="a terminal of POSIX")
def test_parquet_is_not_written_to_a_terminal(fleet: Path, tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "tallystick", "audit", "export", "--format", "parquet"]
    try:
        # Nothing reads what comes out of this terminal: a program that writes much into it waits for ever.
        done = subprocess.run(
            command, stdout=theirs, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=30, check=False
        )
    finally:
        os.close(theirs)
        os.close(ours)
    assert done.returncode == 2
    assert "Parquet is nothing for a terminal: name a file with --out" in done.stderr
    assert done.stderr.count("\n") == 1


def test_without_the_extra_one_line_says_what_to_install(
    run: Run, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tallystick.cli.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("audit", "export", "--format", "parquet", "--out", "log.parquet")
    assert result.exit_code == 1
    assert result.stderr == "tallystick: Parquet needs pyarrow: pip install 'tallystick[parquet]'\n"
    assert not (tmp_path / "log.parquet").exists()
    assert run("audit", "export", "--format", "csv").exit_code == 0
