"""A trace is read exactly, and what is wrong with one is said with its place."""

import gzip
from pathlib import Path

import pytest

from tallystick.demo.trace import COLUMNS, TraceError, read_trace

HEADER = ",".join(COLUMNS)
GOOD = "r-1,agent-x,shop,1,100,4,m-1,1662,106,0,0.004596"


def write(folder: Path, *lines: str, header: str = HEADER) -> Path:
    file = folder / "trace.csv"
    file.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    return file


def test_every_figure_arrives_in_internal_units(tmp_path: Path) -> None:
    (run,) = read_trace(write(tmp_path, GOOD)).runs
    (step,) = run.steps
    assert (run.id, run.agent_type, run.product, run.starts_ms) == ("r-1", "agent-x", "shop", 0)
    assert step.used == (1768, 4000, 4_596_000)
    assert (step.model, step.input_tokens, step.output_tokens, step.cached_tokens) == ("m-1", 1662, 106, 0)


def test_an_empty_cell_is_unknown_not_zero(tmp_path: Path) -> None:
    (run,) = read_trace(write(tmp_path, "r-1,,,,,,,,,,")).runs
    (step,) = run.steps
    assert (run.agent_type, run.product, step.duration_ms, step.input_tokens, step.cost_nanos) == (None,) * 5
    assert step.used == (0, 0, 0)


def test_runs_start_when_their_first_step_does_and_pause_between_steps(tmp_path: Path) -> None:
    first, second = read_trace(write(tmp_path, "a,,,1,100,4,,1,1,,", "b,,,1,107.5,1,,1,1,,", "a,,,2,110,2,,1,1,,")).runs
    assert (first.starts_ms, second.starts_ms) == (0, 7500)
    assert [step.gap_ms for step in first.steps] == [0, 6000]
    assert first.lasts_ms == 12_000


def test_steps_are_run_in_their_order_wherever_their_lines_stand(tmp_path: Path) -> None:
    (run,) = read_trace(write(tmp_path, "a,,,2,,,,20,0,,", "a,,,1,,,,10,0,,")).runs
    assert [step.input_tokens for step in run.steps] == [10, 20]


def test_gzip_is_known_by_its_content_not_its_name(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(gzip.compress(f"{HEADER}\n{GOOD}\n".encode()))
    assert read_trace(file).steps == 1


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("r-1,,,1,,,,1_2,1,,", "line 2, column input_tokens: found 1_2; allowed is a number, not negative, or nothing"),
        ("r-1,,,1,,,,\u0661,1,,", "line 2, column input_tokens: found "),
        ("r-1,,,1,,,,-3,1,,", "line 2, column input_tokens: found -3"),
        ("r-1,,,1,,,,10,1,11,", "line 2, column cached_tokens: found 11; allowed is at most input_tokens (10)"),
        ("r-1,,,1,,,,10,1,,cheap", "line 2, column cost_usd: found cheap; allowed is a number"),
        ("r-1,,,1,,,,10,1,,NaN", "line 2, column cost_usd: found NaN"),
        ("r-1,,,1,,,,10,1,,1E+30", "line 2, column cost_usd: found 1E+30; allowed is a number, not negative"),
        ("r-1,,,1,,-4,,10,1,,", "line 2, column duration_s: found -4"),
        ("r-1,,,one,,,,10,1,,", "line 2, column step: found one"),
        (",,,1,,,,10,1,,", "line 2, column run_id: found nothing"),
        ("pool,,,1,,,,10,1,,", "line 2, column run_id: found pool"),
        (f"{'x' * 117},,,1,,,,10,1,,", "column run_id: found xxx"),
        ("r-1,a\x07b,,1,,,,10,1,,", "column agent: found 'a\\x07b'"),
        ("r-1,,,1", "line 2: found more or fewer cells"),
        (f"{GOOD},and more", "line 2: found more or fewer cells"),
    ],
)
def test_a_bad_cell_is_named_with_line_and_column(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(TraceError) as error:
        read_trace(write(tmp_path, line))
    assert words in str(error.value)
    assert str(error.value).startswith(str(tmp_path / "trace.csv"))
    assert str(error.value).isprintable()


def test_what_was_used_is_rounded_up_to_our_units(tmp_path: Path) -> None:
    (run,) = read_trace(write(tmp_path, "a,,,1,,0.02150231999985408,,12.5,3.0,,0.00010811999999999999")).runs
    (step,) = run.steps
    assert (step.duration_ms, step.input_tokens, step.output_tokens, step.cost_nanos) == (22, 13, 3, 108_120)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="line 1: the column agent is missing; found run_id, step"):
        read_trace(write(tmp_path, header="run_id,step"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the column run_id is missing; found nothing"),
        (HEADER.encode() + b"\n", "holds no step"),
        (HEADER.encode() + b"\n\xff\xfe", "not a UTF-8 text"),
        (gzip.compress(HEADER.encode() * 50, mtime=0)[:40], "not a whole gzip file"),
        (b"\x1f\x8b\x08", "not a whole gzip file"),
    ],
)
def test_a_file_that_is_no_trace_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(content)
    with pytest.raises(TraceError, match=words):
        read_trace(file)


def test_a_file_that_is_not_there_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path / "none.csv")
