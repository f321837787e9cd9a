"""Python programs in processes that have loaded the package already: most of what a short program takes is to load it.

A process loads the package once, and forks for each program that is started through it. What is forked has the
folder, environment, arguments, input and output of whom it runs for, and ends as the program ends.

- `started.py` starts programs of tests through it: they are children of the process of the tests.
- A shell has a small ``tallystick`` in their place, which ends as they end. No signal reaches the program, so that one
  is for commands that end by themselves. Where it waits with curl for a server, it goes on when that listens.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import sys
import threading
import time
import traceback
import types
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen
from typing import Any, NoReturn

STANDARD = 3
"""Input, output and errors."""
SECONDS = 120
REQUEST_BYTES = 1_000_000
TALLYSTICK = str(Path(sys.executable).with_name("tallystick"))
"""The installed command."""

ROOT = Path(__file__).resolve().parents[2]
_LOADED_WHEN_CALLED = (
    "tallystick.fleet",
    "tallystick.client",
    "tallystick.http.server",
    "tallystick.events.log.store_sqlite",
    "tallystick.events.log.store_memory",
    "tallystick.events.log.store_postgres",
    "tallystick.mcp.of_server",
    "tallystick.mcp.over_http",
    "tallystick.mcp.over_stdio",
    "genai_prices",
    "uvloop",
)
"""What the modules of the commands load only where it is needed."""

_COMMAND = """#!{python} -IS
import json, os, resource, socket, sys
if resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY or sys.argv[1:2] == ["serve"]:
    os.execv({command!r}, [{command!r}, *sys.argv[1:]])
with socket.socket(socket.AF_UNIX) as prepared:
    prepared.connect({address!r})
    asked = {{"arguments": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ), "session": False, "told": True}}
    sent = json.dumps(asked).encode()
    socket.send_fds(prepared, [len(sent).to_bytes(4, "big")], range({standard}))
    prepared.sendall(sent)
    answered = prepared.recv(1)
sys.exit(answered[0] if answered else 70)
"""

_CURL = """#!/bin/bash
# By itself, it would look again after a whole second.
if [[ " $* " == *" --retry-connrefused "* && "${{*: -1}}" =~ ^http://([^:/]+):([0-9]+)/ ]]; then
    for ((looks = 0; looks < {looks}; looks++)); do
        (: < "/dev/tcp/${{BASH_REMATCH[1]}}/${{BASH_REMATCH[2]}}") 2> /dev/null && break
        sleep 0.02
    done
fi
exec {curl} "$@"
"""


class Prepared:
    """The process that forks, and its files in a folder. It ends with the process of the tests."""

    def __init__(self, folder: Path) -> None:
        self._address, self._commands = folder / "prepared", folder / "bin"
        program = f"from {__name__} import run_for_others; run_for_others()"
        self._server = Popen(
            [sys.executable, "-c", program, str(self._address)],
            stdin=PIPE,
            stdout=DEVNULL,
            cwd=ROOT,
        )
        end = time.monotonic() + SECONDS
        while not self._address.exists():
            assert self._server.poll() is None, "it has ended"
            assert time.monotonic() < end
            time.sleep(0.01)

    def start(self, asked: dict[str, Any], standard: list[int]) -> int:
        """Start a program, with these files as its input, output and errors. Its process id.

        Its parent is the next of this process and those above it that adopts.
        """
        with socket.socket(socket.AF_UNIX) as prepared:
            prepared.connect(str(self._address))
            sent = json.dumps({**asked, "told": False}).encode()
            socket.send_fds(prepared, [len(sent).to_bytes(4, "big")], standard)
            prepared.sendall(sent)
            answered = b""
            while part := prepared.recv(REQUEST_BYTES):
                answered += part
        return int(answered)

    def commands(self) -> Path:
        """A folder with a ``tallystick`` for shells. A server, and what may not write large files, is the real one."""
        if not self._commands.exists():
            self._commands.mkdir()
            address = str(self._address)
            text = _COMMAND.format(python=sys.executable, command=TALLYSTICK, address=address, standard=STANDARD)
            self._place("tallystick", text)
            if curl := shutil.which("curl"):
                self._place("curl", _CURL.format(curl=curl, looks=SECONDS * 50))
        return self._commands

    def _place(self, name: str, text: str) -> None:
        command = self._commands / name
        command.write_text(text, encoding="utf-8")
        command.chmod(0o755)

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()


def run_for_others() -> None:
    """Load the package, then fork for each who connects, for as long as the process of the tests is there."""
    main = importlib.import_module("tallystick.cli.main")
    for place in (*main._COMMANDS.values(), *_LOADED_WHEN_CALLED):
        importlib.import_module(place.partition(":")[0])
    importlib.import_module("tallystick.config.published")._bundled()
    assert threading.active_count() == 1, "what is forked has no other thread"
    gc.collect()
    gc.freeze()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{sys.argv[1]}.new")
        listener.listen(64)
        Path(f"{sys.argv[1]}.new").rename(sys.argv[1])
        while listener in select.select([listener, 0], [], [])[0]:
            asker, _ = listener.accept()
            asked, given = _read(asker)
            forked = os.fork()
            if forked == 0:
                listener.close()
                _be(asked, given, asker)
            for file in given:
                os.close(file)
            if not asked["told"]:
                os.waitpid(forked, 0)
            asker.close()
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _read(asker: socket.socket) -> tuple[dict[str, Any], list[int]]:
    """What is asked for, and the files that came with it."""
    head, given, _, _ = socket.recv_fds(asker, 4, STANDARD)
    text = b""
    while len(text) < int.from_bytes(head, "big"):
        text += asker.recv(REQUEST_BYTES)
    return json.loads(text), given


def _be(asked: dict[str, Any], given: list[int], asker: socket.socket) -> NoReturn:
    """Be the program that is asked for, from its beginning to its end."""
    if not asked["told"]:
        # The parent ends when it has said who this is, so that another one adopts.
        parent = os.getpid()
        if other := os.fork():
            asker.sendall(str(other).encode())
            os._exit(0)
        asker.close()
        while os.getppid() == parent:
            time.sleep(0.001)
    if asked["session"]:
        os.setsid()
    for number, file in enumerate(given):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    time.tzset()
    sys.path[1:1] = [path for path in asked["env"].get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    importlib.invalidate_caches()
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    code = _ended(asked["arguments"])
    if asked["told"]:
        asker.sendall(bytes([code]))
    # To free all that was loaded would take longer than most programs.
    os._exit(code)


def _ended(arguments: list[str]) -> int:
    """Run to the end, as Python does. The exit code."""
    code = 1
    try:
        _run(arguments)
        code = 0
    except SystemExit as ended:
        if isinstance(ended.code, int | None):
            code = ended.code or 0
        else:
            sys.stderr.write(f"{ended.code}\n")
    except BaseException as error:  # noqa: BLE001 - whatever ends a program is shown
        traceback.print_exception(error.with_traceback(_of_the_program(error.__traceback__)))
        if isinstance(error, KeyboardInterrupt):
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return 120  # as Python's own end
    return code & 0xFF


def _of_the_program(trace: types.TracebackType | None) -> types.TracebackType | None:
    """A traceback without the frames of this file."""
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return trace


def _run(arguments: list[str]) -> None:
    """What Python does with these arguments, after its own name: ``-c text``, ``-m tallystick``, or the command."""
    what, *rest = arguments
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if what == "-m":
        sys.path[0], sys.argv = str(Path.cwd()), rest
        runpy._run_module_as_main(rest[0])  # type: ignore[attr-defined]
    elif what == "-c":
        sys.path[0], sys.argv = "", ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), vars(main))  # noqa: S102 - the program of a test
    else:
        sys.path[0], sys.argv = str(Path(what).parent), arguments
        sys.exit(importlib.import_module("tallystick.cli.main").main())
