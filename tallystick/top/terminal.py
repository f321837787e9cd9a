"""The terminal while a screen is shown on it: keys arrive one by one, and it is put back on every way out."""

import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

_LOCAL, _SPECIAL = 3, 6
"""Where the local modes and the special characters are in a terminal's attributes."""
_ENDING: Final = (signal.SIGTERM, signal.SIGHUP)


class Ended(BaseException):
    """A signal asked the process to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class Terminal:
    """A terminal whose keys are read one by one. Ctrl-Z arrives as a key, since the screen must be left first."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._before: list[Any] = termios.tcgetattr(fd)

    def enter(self) -> None:
        tty.setcbreak(self._fd, termios.TCSANOW)
        attributes = termios.tcgetattr(self._fd)
        attributes[_SPECIAL][termios.VSUSP] = b"\0"
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)

    def leave(self) -> None:
        # A terminal that is gone cannot be put back.
        with contextlib.suppress(termios.error, OSError):
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._before)


@contextlib.contextmanager
def keys_one_by_one(fd: int) -> Iterator[Terminal]:
    """The terminal, entered; it is left on the way out, also where a signal ends the process, by that signal then."""
    terminal = Terminal(fd)
    before = {number: signal.signal(number, _end) for number in _ENDING}
    ended: Ended | None = None
    try:
        terminal.enter()
        yield terminal
    except Ended as error:
        ended = error
    finally:
        terminal.leave()
        for number, handler in before.items():
            signal.signal(number, handler)
    if ended is not None:
        sys.stdout.flush()
        signal.signal(ended.number, signal.SIG_DFL)
        os.kill(os.getpid(), ended.number)


def stop_until_continued() -> None:
    """What Ctrl-Z does: the shell has the terminal until it lets the process go on."""
    os.kill(os.getpid(), signal.SIGTSTP)


def _end(number: int, _: FrameType | None) -> None:
    raise Ended(number)
