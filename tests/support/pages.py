"""Runs the code in the documentation: fenced blocks, and the output that a page shows for each.

- ``python``: a whole program; an ``output`` block after it shows what the program prints.
- ``console``: lines that begin with ``$`` are typed into a shell (``>`` continues the line before), the rest is what
  the shell prints.
- A server on one of ``SHOWN_PORTS`` is run on a port of its own, so that pages can be run beside other servers.
- ``SHOWN_STORE`` is a database that is not there: in its place is one of the tests' own, with a fleet for the page.
- ``...`` in an output stands for any text within its line; alone in a line, for any number of lines. Times, digests
  and generated ids need only have the same form as those shown.

All blocks of a page run in one folder of its own, from the top of the page to its end.
"""

import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tests.support.postgres import shared

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", PROJECT / "CONTRIBUTING.md", *sorted((PROJECT / "docs").rglob("*.md"))]
BY_HAND = re.compile(r"make( |$)|git clone|cd tallystick$|export PATH=")
"""Commands that are not run here: they set up the machine or the clone."""

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIMEOUT_SECONDS = 120
SHOWN_PORTS = ("8321", "8323", "8324", "8331", "8341", "8361", "8362")
SHOWN_STORE = "postgresql://budgets@db/budgets"
_PORT = re.compile(rf"(?<=:|\s)(?:{'|'.join(SHOWN_PORTS)})\b")
_VARYING = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"
    r"|\b[0-9a-f]{64}\b|\b[0-9a-f]{16}…|\b(send|config|prices)-[0-9a-f]{16}\b|\bm-[0-9a-f]{12}-\d+\b"
)


class Block(NamedTuple):
    """A fenced block: its language, its text, and the line of the page at which the text begins."""

    language: str
    text: str
    line: int


class Typed(NamedTuple):
    """A command as it is typed, and the output that the page shows."""

    command: str
    answer: str
    line: int


def fences(text: str) -> Iterator[re.Match[str]]:
    """The fenced blocks of a text: group 1 is the language, group 2 the content."""
    return _FENCE.finditer(text)


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [Block(found[1], found[2], text.count("\n", 0, found.start(2)) + 1) for found in fences(text)]


def typed(block: Block) -> Iterator[Typed]:
    """The commands of a ``console`` block."""
    command: list[str] = []
    answer: list[str] = []
    began = block.line
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            if command:
                yield Typed("\n".join(command), "\n".join(answer), began)
            command, answer, began = [line[2:]], [], number
        elif line.startswith("> ") or line == ">":
            command.append(line[2:])
        else:
            answer.append(line)
    if command:
        yield Typed("\n".join(command), "\n".join(answer), began)


def as_said(said: str, answered: str) -> bool:
    """Whether an output is the one that the page shows, except where the page has ``...``."""
    pattern = ""
    for line in _steady(said):
        if line == "...":
            pattern += r"(?:[^\n]*\n)*?"
        else:
            pattern += r"[^\n]*?".join(map(re.escape, line.split("..."))) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _steady(answered))) is not None


def _steady(text: str) -> list[str]:
    """The lines, with a letter in place of each text that differs from run to run."""
    return [
        _VARYING.sub(lambda m: "#" if m[0][4:5] == "-" else "@", line.rstrip()) for line in text.rstrip().splitlines()
    ]


def environment(folder: Path) -> dict[str, str]:
    """The environment of a new user: tallystick on the path, and no settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TALLYSTICK", "COV_", "PYTEST"))}
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return kept | {
        "PATH": path,
        "HOME": str(folder),
        "LOGNAME": "ada",
        "USER": "ada",
        "COLUMNS": "100",
        "LC_ALL": "C.UTF-8",
    }


def run_python(text: str, folder: Path) -> str:
    """What a program prints. Warnings go to stderr, and are ignored."""
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@cache
def port_of(folder: Path, shown: str) -> int:
    """A port that was free, for a server of the page that runs in a folder."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@cache
def store_of(folder: Path) -> str:
    """The store of the page that runs in a folder, in place of ``SHOWN_STORE``."""
    return shared().url(fleet=f"page-{secrets.token_hex(8)}")


def run_console(commands: list[Typed], folder: Path, programs: Path | None = None) -> list[str]:
    """What one shell prints for each command: stdout and stderr together, as in a terminal.

    ``programs``: a folder of programs that come before those of the path.
    """
    variables = environment(folder)
    if programs is not None:
        variables["PATH"] = os.pathsep.join((str(programs), variables["PATH"]))
    script = "true\n" + "".join(f"{one.command}\n{{ said=$?; printf '\\001'; (exit $said); }}\n" for one in commands)
    store = store_of(folder) if SHOWN_STORE in script else ""
    script = script.replace(SHOWN_STORE, shlex.quote(store))
    script = _PORT.sub(lambda port: str(port_of(folder, port[0])), script)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_TIMEOUT_SECONDS,
        check=False,
    )
    printed = done.stdout.decode()
    for shown in SHOWN_PORTS:
        printed = printed.replace(f":{port_of(folder, shown)}", f":{shown}")
    if store:
        printed = printed.replace(store, SHOWN_STORE)
    answers = printed.split("\001")
    assert len(answers) == len(commands) + 1, printed
    return answers[:-1]
