"""Programs of the package that tests start: each is forked from a process that has loaded the package.

`Started` is in place of `subprocess.Popen` while tests run on Linux. What it starts is a child of the process of the
tests, as any other: it can be sent signals, killed and waited for. Where more is asked for than ``python -c``,
``python -m`` with a module of the package or of the tests, or ``tallystick``, with arguments, files, a folder and an
environment, and where the environment has other settings of Python's own, the program is started as ever.
"""

import ctypes
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.prepared import ROOT, TALLYSTICK, Prepared

_ADOPT = 36
"""PR_SET_CHILD_SUBREAPER of Linux."""
_UNDERSTOOD = {"stdin", "stdout", "stderr", "text", "encoding", "errors", "bufsize", "cwd", "env", "start_new_session"}
_NOTHING = (None, False, (), -1)
"""What others say of all that can be asked for, where they do not ask for it."""


class _Server:
    """The process that forks, from the first time that it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._prepared: Prepared | None = None

    @property
    def prepared(self) -> Prepared:
        if self._prepared is None:
            self._folder = tempfile.TemporaryDirectory(prefix="ts-")
            self._prepared = Prepared(Path(self._folder.name))
        return self._prepared

    def start(self, asked: dict[str, Any], standard: list[int]) -> int:
        """Start a program as a child of this process. Its process id."""
        with self._lock:
            prepared = self.prepared
            # Only now: orphans of other programs are left to the machine.
            _adopt(1)
            try:
                return prepared.start(asked, standard)
            finally:
                _adopt(0)

    def close(self) -> None:
        if self._prepared is not None and self._folder is not None:
            self._prepared.close()
            self._folder.cleanup()
            self._prepared = None


SERVER = _Server()


def _adopt(whether: int) -> None:
    assert ctypes.CDLL(None).prctl(_ADOPT, whether, 0, 0, 0) == 0


class Started(subprocess.Popen):  # type: ignore[type-arg]
    """A process, forked from the prepared one where it can be."""

    def __init__(self, args: Any, *more: Any, **named: Any) -> None:
        self._asked = None if more else _asked(args, named)
        super().__init__(args, *more, **named)

    def _execute_child(self, *given: Any) -> None:
        """Python's own method, which has had these arguments since 3.11."""
        if self._asked is None:
            super()._execute_child(*given)  # type: ignore[misc]
            return
        ends = given[10:16]
        theirs = [ends[0], ends[3], ends[5]]
        standard = [number if end == -1 else end for number, end in enumerate(theirs)]
        self.pid = SERVER.start(self._asked, standard)
        self._child_created = True
        self._close_pipe_fds(*ends)  # type: ignore[attr-defined]


def _asked(args: Any, named: dict[str, Any]) -> dict[str, Any] | None:
    """What the prepared process is asked for; None where the program is to be started as ever."""
    said = {name for name, value in named.items() if value not in _NOTHING}
    if not isinstance(args, list | tuple) or not said <= _UNDERSTOOD:
        return None
    program, *arguments = map(os.fspath, args)
    if program == TALLYSTICK:
        arguments = [program, *arguments]
    elif program != sys.executable or not (arguments[:1] == ["-c"] or _is_ours(arguments)):
        return None
    folder = Path(named.get("cwd") or ".").resolve()
    environment = dict(os.environ if named.get("env") is None else named["env"])
    if _settings_of_python(environment) != _settings_of_python(os.environ) or not folder.is_dir():
        return None
    session = bool(named.get("start_new_session"))
    return {"arguments": arguments, "cwd": str(folder), "env": environment, "session": session}


def _is_ours(arguments: list[str]) -> bool:
    """Whether this runs a module of the package, or of the tests."""
    return arguments[:1] == ["-m"] and arguments[1].partition(".")[0] in ("tallystick", "tests")


def _settings_of_python(environment: Mapping[str, str]) -> dict[str, str]:
    """All but where the package is found, where that is the project: the prepared process has it from there."""
    settings = {name: value for name, value in environment.items() if name.startswith("PYTHON")}
    if settings.get("PYTHONPATH") == str(ROOT):
        del settings["PYTHONPATH"]
    return settings
