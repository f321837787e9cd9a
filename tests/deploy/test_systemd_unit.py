"""The service unit is one that systemd takes, and its sandbox lets the server do what it does, and little else."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import urllib.request
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from tallystick.cli.main import main
from tallystick.http.server import STOP_SECONDS
from tests.support.pages import PROJECT, environment

UNIT = PROJECT / "deploy" / "systemd" / "tallystick.service"
EXPOSURE_MAX = "15"
"""What systemd says of the openness of a unit, in tenths from 0 to 100: below 20 is its best mark."""
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def settings() -> dict[str, list[str]]:
    """What the unit says, by key; a key may be there several times."""
    found = defaultdict(list)
    for line in UNIT.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found[key].append(value)
    return dict(found)


def arguments(folder: str) -> list[str]:
    """The arguments of the command that the unit starts, with a folder in place of that of the settings."""
    (command,) = settings()["ExecStart"]
    program, *rest = shlex.split(command)
    assert program == "/opt/tallystick/bin/tallystick"
    return [word.replace("/etc/tallystick", folder) for word in rest]


@needs_systemd
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = UNIT.read_text(encoding="utf-8")
    copy = tmp_path / UNIT.name
    copy.write_text(text.replace("/opt/tallystick/bin/tallystick", sys.executable), encoding="utf-8")
    done = subprocess.run(["systemd-analyze", "verify", str(copy)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@needs_systemd
def test_systemd_calls_the_unit_well_protected(tmp_path: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_unit_gives_a_stop_the_time_that_the_server_takes_and_starts_it_again_only_after_a_failure() -> None:
    said = settings()
    assert int(said["TimeoutStopSec"][0]) >= STOP_SECONDS + 10
    assert said["Restart"] == ["on-failure"]
    assert "KillSignal" not in said
    assert said["KillMode"] == ["mixed"]


def test_the_unit_keeps_the_store_and_the_control_socket_in_directories_of_its_own() -> None:
    said = settings()
    variables = dict(value.split("=", 1) for value in said["Environment"])
    assert variables["TALLYSTICK_STORE"] == f"sqlite:////var/lib/{said['StateDirectory'][0]}/tallystick.db"
    assert variables["XDG_RUNTIME_DIR"] == f"/run/{said['RuntimeDirectory'][0]}"
    assert f"/etc/{said['ConfigurationDirectory'][0]}/resource-limits.yml" in said["ExecStart"][0]
    assert {said["StateDirectoryMode"][0], said["RuntimeDirectoryMode"][0]} == {"0700"}


def test_the_command_of_the_unit_is_one_that_tallystick_takes(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, [*arguments(str(tmp_path)), "--store", "memory:", "--port", "0"])
    assert result.exit_code == 2
    assert f"{tmp_path / 'resource-limits.yml'}: cannot be read: No such file or directory" in result.output


@needs_systemd
@needs_strace
def test_the_server_calls_nothing_of_the_kernel_that_the_unit_forbids(tmp_path: Path) -> None:
    calls = traced(tmp_path)
    allowed = allowed_calls()
    assert {"read", "fdatasync", "accept4"} <= allowed
    # As the superuser, SQLite gives the files beside a store to its owner; the unit's user does not.
    of_the_superuser = {"fchown"} if os.geteuid() == 0 else set()
    assert {name for name, _ in calls} - allowed - of_the_superuser == set()
    families = {match[0] for name, rest in calls if name == "socket" and (match := re.match(r"AF_\w+", rest))}
    assert {"AF_INET", "AF_UNIX"} <= families <= set(settings()["RestrictAddressFamilies"][0].split())
    assert settings()["MemoryDenyWriteExecute"] == ["yes"]
    assert not [rest for name, rest in calls if name in ("mmap", "mprotect") and re.search(r"WRITE\|PROT_EXEC", rest)]


def traced(folder: Path) -> list[tuple[str, str]]:
    """The system calls of a server that is started as the unit does it, asked over HTTP and its socket, and stopped."""
    (folder / "run").mkdir(mode=0o700)
    (folder / "resource-limits.yml").write_text("total_budget: {tokens: 1000}\n", encoding="utf-8")
    store, trace = f"sqlite:///{folder / 'fleet.db'}", folder / "trace"
    variables = environment(folder) | {"XDG_RUNTIME_DIR": str(folder / "run"), "TALLYSTICK_STORE": store}
    tallystick = [sys.executable, "-m", "tallystick"]
    # The tracer is a child of the server, so that the signal reaches the server.
    command = ["strace", "-D", "-f", "-qq", "-o", str(trace), *tallystick, *arguments(str(folder)), "--port", "0"]
    with subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as one:
        assert one.stdout is not None
        port = urlsplit(one.stdout.readline().decode().split(" at ")[1].strip()).port
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=120) as answer:
            assert answer.read() == b"ready\n"
        # Answered by a process that the server starts.
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/views/status", timeout=120) as answer:
            assert answer.status == 200
        message = '{"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}}'
        subprocess.run([*tallystick, "send", message], cwd=folder, env=variables, check=True, capture_output=True)
        one.terminate()
        assert one.wait(120) == 0
    return re.findall(r"^\d+ +(\w+)\((.*)", trace.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)


def allowed_calls() -> set[str]:
    """The system calls that the filters of the unit leave, group by group, as systemd lists them."""
    listed = subprocess.run(["systemd-analyze", "syscall-filter"], capture_output=True, text=True, check=True).stdout
    groups: dict[str, list[str]] = {}
    for group, body in re.findall(r"^(@[\w-]+)\n((?:    .*\n?)+)", listed, re.MULTILINE):
        groups[group] = [line.strip() for line in body.splitlines() if not line.strip().startswith("#")]

    def expanded(names: list[str]) -> set[str]:
        return {call for name in names for call in (expanded(groups[name]) if name in groups else [name])}

    allowed: set[str] = set()
    for line in settings()["SystemCallFilter"]:
        named = expanded(line.removeprefix("~").split())
        allowed = allowed - named if line.startswith("~") else allowed | named
    return allowed
