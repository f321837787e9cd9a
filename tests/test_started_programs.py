"""A program that is forked from the prepared process is to its test what a program that loads the package is."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.started import Started

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="programs are forked on Linux alone")

PROGRAMS = {
    "arguments, folder and input": "import sys, os; print(sys.argv, sys.path[0], os.getcwd(), __name__, input())",
    "environment": "import os; print(os.environ['GIVEN'], os.environ.get('HOME'))",
    "errors": "import sys; print('said', file=sys.stderr)",
    "an exit code": "import sys; sys.exit(3)",
    "an exit with a sentence": "import sys; sys.exit('no')",
    "an exception": "def fails():\n    raise ValueError('bad')\nfails()",
    "an interruption": "import os, signal; os.kill(os.getpid(), signal.SIGINT)",
    "a kill": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    "what is left to do": (
        "import atexit, threading, time\natexit.register(print, 'last')\n"
        "threading.Thread(target=lambda: (time.sleep(0.05), print('thread'))).start()"
    ),
}

Run = Callable[[list[str]], tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_it(arguments: list[str]) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            env={"GIVEN": "ä"},
            input="line\n",
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run_it


def both(run: Run, arguments: list[str]) -> tuple[Any, Any]:
    """What comes of a program that is forked, and of one that loads the package."""
    forked = run(arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", Started.__base__)
        return forked, run(arguments)


@pytest.mark.parametrize("text", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_a_program_says_and_ends_as_ever(run: Run, text: str) -> None:
    forked, loaded = both(run, ["-c", text, "one", "two"])
    assert forked == loaded


@pytest.mark.parametrize("arguments", [["--version"], ["send", "--help"], ["status"], ["no-such"]])
def test_a_command_says_and_ends_as_ever(run: Run, arguments: list[str]) -> None:
    forked, loaded = both(run, ["-m", "tallystick", *arguments])
    assert forked == loaded


@pytest.mark.parametrize("module", ["tallystick.projections", "tallystick.no_such", "tests.no_such"])
def test_a_module_says_and_ends_as_ever(run: Run, module: str) -> None:
    forked, loaded = both(run, ["-m", module])
    assert forked == loaded


def test_a_program_is_a_child_has_loaded_the_package_and_can_be_ended() -> None:
    text = "import os, sys; print(os.getppid(), 'tallystick.fleet' in sys.modules, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        assert program.stdout is not None
        parent, loaded = program.stdout.readline().decode().split()
        program.send_signal(signal.SIGTERM)
        assert (int(parent), loaded, program.wait()) == (os.getpid(), "True", -signal.SIGTERM)


def test_a_program_that_asks_for_more_is_started_as_ever() -> None:
    text = "import sys; sys.exit('tallystick.fleet' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", text], check=False).returncode == 1
    for more in ({"env": {"PYTHONHASHSEED": "1"}}, {"umask": 0o77}):
        assert subprocess.run([sys.executable, "-c", text], check=False, **more).returncode == 0  # type: ignore[call-overload]
    assert subprocess.run([sys.executable, "-I", "-c", text], check=False).returncode == 0
