"""An environment for each peer, with exactly its version, in a folder that git does not look at."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".venv-peers"


class NotInstalled(Exception):
    """A package could not be installed; the text says why, in one line."""


def python_with(pins: Sequence[str]) -> Path:
    """The interpreter of an environment that has these packages, and what they need; ours where there are none.

    Raises:
        NotInstalled: the index does not have one, or it does not install here.
    """
    if not pins:
        return Path(sys.executable)
    folder = FOLDER / pins[0].partition("=")[0].partition("[")[0]
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = "\n".join(pins)
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    _run([sys.executable, "-m", "venv", "--clear", str(folder)])
    _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise NotInstalled(lines[-1] if lines else f"{command[0]} ended with {done.returncode}")
