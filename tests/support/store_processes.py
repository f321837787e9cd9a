"""Programs that tests run in processes of their own; they speak by lines on a pipe, and wait on their stdin."""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO

import pytest

from tallystick.events.log.codec import GENESIS, digest_of, with_digest
from tallystick.events.log.store import Record
from tests.support.postgres import shared

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120
"""How long a test waits for a child before it gives up."""

STORES: dict[str, Callable[[Path], str]] = {
    "memory": lambda folder: "memory:",
    "sqlite": lambda folder: f"sqlite:///{folder}/fleet.db",
    "postgres": lambda folder: shared().url(fleet=sha256(bytes(folder)).hexdigest()[:32]),
}
"""The address of a new store of each kind, in a folder."""


@contextlib.contextmanager
def child(program: str, *arguments: str, before: Sequence[str] = ()) -> Iterator["subprocess.Popen[str]"]:
    """A Python program in a process of its own, dead at the end of the block. ``before`` runs it (``strace`` …)."""
    process = subprocess.Popen(
        [*before, sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=SECONDS)


def line_of(process: "subprocess.Popen[str]") -> str:
    """The child's next line (it ends, and the test fails, where the child died)."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the child ended with {process.wait(SECONDS)}"
    return line.rstrip("\n")


def let_go(process: "subprocess.Popen[str]") -> list[str]:
    """Let a child go on that waits on its stdin, to its end; the rest of its lines."""
    output, _ = process.communicate("\n", timeout=SECONDS)
    assert process.returncode == 0, output
    return output.splitlines()


def run(program: str, *arguments: str, before: Sequence[str] = ()) -> list[str]:
    """A child's lines, once it has ended well."""
    with child(program, *arguments, before=before) as process:
        return let_go(process)


def as_ordinary_user() -> list[str]:
    """What a command must begin with, so that file modes hold for it: the superuser may write anything."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("file modes do not hold for the superuser, and setpriv is not there to give that up")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]


def stdin_of(process: "subprocess.Popen[str]") -> IO[str]:
    assert process.stdin is not None
    return process.stdin


def records(first: int, last: int, text: bytes = b"") -> list[Record]:
    """Records at the positions from ``first`` to ``last``, no two alike, each chained to the one before it."""
    chain = _CHAINS.setdefault(text, [])
    while len(chain) < last:
        n = len(chain) + 1
        body = b'{"type":"event-%d.v1","position":%d,"text":"\xc3\xa9\\n%b","cost_usd":"%d"' % (n % 3, n, text, n * n)
        digest = sha256((digest_of(chain[-1].data) if chain else GENESIS) + body).digest()
        chain.append(Record(n, f"event-{n % 3}.v1", with_digest(body, digest)))
    return chain[first - 1 : last]


_CHAINS: dict[bytes, list[Record]] = {}


def no_records(first: int, last: int) -> list[Record]:
    """What is no record of a log, at these positions."""
    return [Record(n, f"event-{n % 3}.v1", b'\x01{"n":%d,\n"text":"\xc3\xa9"}' % n) for n in range(first, last + 1)]
