"""Commands in processes that have loaded the program already: most of what a command takes is to load it.

A process loads the program once, and forks for each command that is run. What is forked has the folder, environment,
arguments, input and output of whom it runs for, runs `main` as the installed command does, and ends as it ends. It is
for commands that end by themselves: a signal to the command does not reach it.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STANDARD = 3
"""Input, output and errors."""
REQUEST_BYTES = 1_000_000

_COMMAND = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as prepared:
    prepared.connect({address!r})
    asked = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(prepared, [len(asked).to_bytes(4, "big")], range({standard}))
    prepared.sendall(asked)
    answered = prepared.recv(1)
sys.exit(answered[0] if answered else 70)
"""


@contextmanager
def prepared_commands(folder: Path) -> Iterator[Path]:
    """A folder with a ``tallystick`` that is loaded already, to be put on the path."""
    address = folder / "prepared"
    command = folder / "bin" / "tallystick"
    command.parent.mkdir()
    text = _COMMAND.format(python=sys.executable, address=str(address), standard=STANDARD)
    command.write_text(text, encoding="utf-8")
    command.chmod(0o755)
    program = [sys.executable, "-c", f"from {__name__} import run_for_others; run_for_others()", str(address)]
    with subprocess.Popen(program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=_ROOT) as server:
        try:
            while not address.exists():
                assert server.poll() is None, "it has ended"
                time.sleep(0.01)
            yield command.parent
        finally:
            server.kill()


_ROOT = Path(__file__).resolve().parents[2]


def run_for_others() -> None:
    """Load the program, then fork for each who connects, for ever."""
    main = importlib.import_module("tallystick.cli.main")
    for place in main._COMMANDS.values():
        importlib.import_module(place.partition(":")[0])
    importlib.import_module("tallystick.config.published")._bundled()
    # Who is waited for is the process that was asked for, and each tells itself how it has ended.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{sys.argv[1]}.new")
        listener.listen(16)
        Path(f"{sys.argv[1]}.new").rename(sys.argv[1])
        while True:
            asker, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                _run(asker)
            asker.close()


def _run(asker: socket.socket) -> None:
    """Be the command that another process has asked for, and tell it the exit code."""
    code = 70
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        head, given, _, _ = socket.recv_fds(asker, 4, STANDARD)
        asked = b""
        while len(asked) < int.from_bytes(head, "big"):
            asked += asker.recv(REQUEST_BYTES)
        sys.argv, folder, environment = json.loads(asked)
        for number, file in enumerate(given):
            os.dup2(file, number)
            os.close(file)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        try:
            importlib.import_module("tallystick.cli.main").main()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
    except Exception:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        asker.sendall(bytes([code]))
        os._exit(code)
