"""The whole program: every command's help, every error in one line, no traceback, no colour in a file."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from tallystick.cli import common
from tallystick.cli.main import main
from tests.support.cli import Run


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command, by the words that call it."""
    yield path
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands(main)), ids=" ".join)
def test_every_help_has_an_example(run: Run, path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "Example" in result.stdout
    assert " ".join(("tallystick", *path)) in result.stdout.partition("Example")[2]


def test_the_version(run: Run) -> None:
    assert run("--version").stdout == f"tallystick {version('tallystick')}\n"


def test_a_command_that_is_not_there_is_reported(run: Run) -> None:
    result = run("sned")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "see tallystick --help" in result.stderr


def test_without_a_command_the_help_is_shown(run: Run) -> None:
    result = run()
    assert result.exit_code == 2
    assert "Usage: tallystick" in result.stderr


READERS = [
    ["audit", "verify"],
    ["audit", "anchor"],
    ["audit", "explain", "1"],
    ["audit", "replay", "--until", "1"],
    ["audit", "export", "--format", "csv"],
    ["config", "show"],
]


@pytest.mark.parametrize("args", READERS, ids=" ".join)
def test_a_store_that_cannot_be_read_is_reported(run: Run, tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "text.db").write_text("this is no database\n" * 99, encoding="utf-8")
    (tmp_path / "empty.db").touch()
    for url, reason in (
        ("sqlite:///none.db", "the file none.db does not exist"),
        ("sqlite:///text.db", "sqlite:///text.db cannot be read"),
        ("sqlite:///empty.db", "sqlite:///empty.db is no fleet: it holds no log"),
        ("mysql://x", "'mysql://x' is not a store"),
    ):
        result = run(*args, "--store", url)
        assert result.exit_code == 1
        assert reason in result.stderr
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""


REPORT = '{"type": "ReportUsage", "agent": "a", "usage": {"tokens": 1}}'


@pytest.mark.parametrize("args", [["simulate", "scenario.jsonl"], ["send", REPORT]], ids=["simulate", "send"])
def test_a_store_that_cannot_be_written_is_reported(run: Run, scenario: Path, tmp_path: Path, args: list[str]) -> None:
    (tmp_path / "text.db").write_text("this is no database\n" * 99, encoding="utf-8")
    result = run(*args, "--store", "sqlite:///text.db")
    assert result.exit_code == 1
    assert "sqlite:///text.db cannot be written" in result.stderr
    assert result.stderr.count("\n") == 1


def test_the_store_of_the_environment(run: Run, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet.rename("elsewhere.db")
    monkeypatch.setenv("TALLYSTICK_STORE", "sqlite:///elsewhere.db")
    assert run("audit", "verify").exit_code == 0


def test_python_m_tallystick(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tallystick", "audit", "verify"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "the file tallystick.db does not exist" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_bar_appears_on_a_terminal_when_it_takes_long(tmp_path: Path) -> None:
    code = (
        "import time; from tallystick.cli import common\n"
        "for i in common.with_progress(range(4), 4, 'waiting'): time.sleep(0.05)"
    )
    patched = f"from tallystick.cli import common; common._STEP = 1; common._PATIENCE_SECONDS = 0.06\n{code}"
    shown = on_a_terminal(patched)
    assert b"waiting" in shown
    assert b"waiting" not in on_a_terminal(patched.replace("0.06", "60"))


def on_a_terminal(code: str) -> bytes:
    """What a program shows on a terminal's stderr."""
    pty = pytest.importorskip("pty", reason="there are no terminals to be had on this system")
    ours, theirs = pty.openpty()
    with subprocess.Popen([sys.executable, "-c", code], stderr=theirs, env={**os.environ, "TERM": "xterm"}) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 10_000)
            except OSError:
                break
            if not part:
                break
            shown += part
        assert process.wait() == 0
    os.close(ours)
    return shown


def test_no_bar_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common, "_PATIENCE_SECONDS", -1)
    monkeypatch.setattr(common, "_STEP", 1)
    assert list(common.with_progress(range(3), 3, "waiting")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
