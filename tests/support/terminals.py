"""A real pseudo-terminal with a program on it: keys are pressed, and what its screen shows is waited for."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SECONDS = 60
"""How long something is waited for before a test gives up."""
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r")
_FRAME = "\x1b[H"
_TAKE = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
"""The terminal becomes the session's own, so that what is typed there may be a signal."""
ROOT = Path(__file__).resolve().parents[2]


class OnTerminal:
    """A program of this project on a terminal of its own, of so many columns and lines."""

    def __init__(
        self, *words: str, columns: int = 100, lines: int = 30, program: tuple[str, ...] = (), **environment: str
    ) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(columns, lines)
        self.before: list[Any] = termios.tcgetattr(self.slave)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", **environment}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            env.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _TAKE, *(program or (sys.executable, "-m", "tallystick", *words))],
            stdin=self.slave,
            stdout=self.slave,
            stderr=self.slave,
            env=env,
            start_new_session=True,
        )
        self.written = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for fd in (self.master, self.slave):
            with contextlib.suppress(OSError):
                os.close(fd)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, *keys: str) -> None:
        for key in keys:
            os.write(self.master, key.encode())

    @property
    def screen(self) -> str:
        """The newest screen, as plain text."""
        _, left, behind = self.written.rpartition("\x1b[?1049l")
        newest = behind if left and _FRAME not in behind else self.written.rpartition(_FRAME)[2]
        return _CONTROL.sub("", newest)

    def wait_for(self, text: str, *, gone: bool = False) -> str:
        """The screen, once it shows this (or no more)."""
        ends = time.monotonic() + SECONDS
        while (text in self.screen) is gone or not self.screen:
            assert time.monotonic() < ends, f"{text!r} did not come (gone={gone}); the screen is\n{self.screen}"
            assert self.process.poll() is None or self._more(), f"it ended; the screen is\n{self.screen}"
            self._more()
        return self.screen

    def wait_for_end(self) -> int:
        """The exit code."""
        ends = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < ends, f"it did not end; the screen is\n{self.screen}"
            self._more()
        while self._more():
            pass
        return self.process.returncode

    def _more(self) -> bool:
        if not select.select([self.master], [], [], 0.1)[0]:
            return False
        self.written += os.read(self.master, 65_536).decode("utf-8", "replace")
        return True

    def check_restored(self) -> None:
        """The terminal is as it was: its modes, its own screen, and its cursor."""
        assert termios.tcgetattr(self.slave) == self.before
        for taken, given_back in (("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h")):
            assert self.written.count(taken) == self.written.count(given_back)
            assert self.written.rfind(given_back) >= self.written.rfind(taken)
