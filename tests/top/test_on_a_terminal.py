"""``tallystick top`` on a real pseudo-terminal: keys are pressed, and the terminal is given back on every way out."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tallystick.fleet import Fleet
from tests.support.terminals import OnTerminal


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleet.db"


@pytest.fixture
def fleet(url: str) -> Iterator[Fleet]:
    """A fleet at work in this process."""
    with Fleet.open(url) as fleet:
        for number in range(1, 41):
            budget = {"tokens": 1_000 * number}
            fleet.ask({"type": "AllocateBudget", "agent": f"a-{number}", "product": "shop", "budget": budget})
        fleet.ask({"type": "ReportUsage", "agent": "a-1", "usage": {"tokens": 900}})
        yield fleet


def test_what_happens_in_another_process_is_seen_as_it_comes(fleet: Fleet, url: str) -> None:
    with OnTerminal("top", "--store", url) as top:
        top.wait_for("40 by exhaustion")
        top.wait_for("a-1 ")
        top.wait_for("red")
        fleet.ask({"type": "AllocateBudget", "agent": "newcomer", "budget": {"tokens": 5}})
        fleet.ask({"type": "ReportUsage", "agent": "newcomer", "usage": {"tokens": 5}})
        top.wait_for("newcomer has used up its tokens")
        top.wait_for("black")
        top.press("q")
        assert top.wait_for_end() == 0
        top.check_restored()


def test_keys_sort_filter_and_drill_down(fleet: Fleet, url: str) -> None:
    with OnTerminal("top", "--store", url) as top:
        top.wait_for("by exhaustion")
        top.press("s", "s", "s", "s")
        top.wait_for("by name")
        top.press("/", "a-2", "\r")
        assert "12 by name  /a-2" not in top.wait_for("11 by name  /a-2")
        top.press("j", "\r")
        top.wait_for("a-20 was opened with 20,000 tokens")
        top.press("\x1b")
        top.wait_for("11 by name")
        top.press("\x1b")
        top.wait_for("40 by name")
        top.press("5")
        top.wait_for("by newest")
        top.press("?")
        top.wait_for("hold the screen still")
        top.press("x", " ")
        top.wait_for("held still")
        fleet.ask({"type": "AllocateBudget", "agent": "unseen", "budget": {"tokens": 5}})
        top.press(" ")
        top.wait_for("unseen was opened")
        top.press("q")
        assert top.wait_for_end() == 0
        top.check_restored()


def test_it_follows_the_size_of_the_terminal(fleet: Fleet, url: str) -> None:
    with OnTerminal("top", "--store", url, lines=30) as top:
        top.wait_for("a-15 ")
        top.resize(100, 12)
        top.wait_for("a-15 ", gone=True)
        top.press("q")
        assert top.wait_for_end() == 0
        top.check_restored()


@pytest.mark.parametrize(
    ("way", "code"),
    [("ctrl-c", 0), (signal.SIGTERM, -signal.SIGTERM), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 0)],
)
def test_the_terminal_is_given_back_on_every_way_out(fleet: Fleet, url: str, way: object, code: int) -> None:
    with OnTerminal("top", "--store", url) as top:
        top.wait_for("a-1 ")
        if isinstance(way, signal.Signals):
            top.process.send_signal(way)
        else:
            top.press("\x03")
        assert top.wait_for_end() == code
        top.check_restored()
        assert "Traceback" not in top.written


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_ctrl_z_gives_the_terminal_to_the_shell_until_it_goes_on(fleet: Fleet, url: str) -> None:
    with OnTerminal(program=("bash", "--norc", "--noprofile", "-i")) as shell:
        shell.press(f"{sys.executable} -m tallystick top --store {url}\r")
        shell.wait_for("by exhaustion")
        shell.press("\x1a")
        shell.wait_for("Stopped")
        shell.press("echo still-a-$((40 + 2))-shell\r")
        shell.wait_for("still-a-42-shell")
        shell.press("fg\r")
        shell.wait_for("by exhaustion")
        shell.press("q")
        shell.wait_for("by exhaustion", gone=True)
        shell.press("exit\r")
        shell.wait_for_end()
        assert shell.written.count("\x1b[?1049h") == shell.written.count("\x1b[?1049l") == 2


def test_a_store_that_is_taken_away_ends_it_with_one_line_on_the_terminal_that_was(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/gone.db"
    Fleet.open(url).close()
    with OnTerminal("top", "--store", url) as top:
        top.wait_for("agents")
        for file in tmp_path.glob("gone.db*"):
            file.write_bytes(b"something else entirely" * 1_000)
        assert top.wait_for_end() == 1
        top.check_restored()
        assert "tallystick: " in top.written.rpartition("\x1b[?1049l")[2]
        assert "Traceback" not in top.written


def test_a_fleet_that_there_is_not_is_said_before_the_screen_is_taken(tmp_path: Path) -> None:
    with OnTerminal("top", "--store", f"sqlite:///{tmp_path}/none.db") as top:
        assert top.wait_for_end() == 1
        assert "there is no fleet at" in top.written
        assert "\x1b[?1049h" not in top.written


def test_a_terminal_without_colours_or_utf_8_shows_it_too(fleet: Fleet, url: str) -> None:
    fleet.ask({"type": "AllocateBudget", "agent": "żółw", "budget": {"tokens": 5}})
    plain = {"TERM": "vt100", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "NO_COLOR": "1"}
    with OnTerminal("top", "--store", url, **plain) as top:
        top.wait_for("a-1 ")
        top.press("q")
        assert top.wait_for_end() == 0
        top.check_restored()
        assert top.written.isascii()


def test_without_a_terminal_it_says_what_to_use(fleet: Fleet, url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tallystick", "top", "--store", url],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "needs a terminal" in done.stderr
    assert "status --watch" in done.stderr
    with OnTerminal("top", "--store", url, TERM="dumb") as top:
        assert top.wait_for_end() == 2
