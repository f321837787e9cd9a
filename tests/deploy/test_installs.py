"""The wheel runs with what it says that it needs: with nothing more, and with each extra alone.

In the suite, an environment is a folder of links to the packages that are here. `make wheels` installs the wheel into
fresh environments instead, by pip, with each Python that is found.
"""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from tests.support.installed import EXTRAS, needed, rows, sizes_in
from tests.support.pages import PROJECT, environment

PAGE = PROJECT / "docs" / "reference" / "install.md"
SECONDS = 600
HAS = {
    None: set(),
    "server": {"http"},
    "parquet": {"parquet"},
    "analysts": {"parquet"},
    "notify": {"notify"},
    "mcp": {"mcp"},
    "postgres": {"postgres"},
    "ray": {"postgres"},
    "telemetry": {"telemetry"},
    "dev": {"http", "mcp", "notify", "postgres", "telemetry"},
}
"""What works with each extra, besides the base."""
MODULES = {
    # What serves a view to `tallystick mcp` comes with either extra.
    "http": ("tallystick.http", "tallystick.cli.mcp_store", "tallystick.cycles"),
    "mcp": ("tallystick.mcp.server", "tallystick.mcp.of_server", "tallystick.mcp.over_"),
    "parquet": ("tallystick.cli.parquet",),
    "postgres": (
        "tallystick.audit.database_objects",
        "tallystick.cli.store_database",
        "tallystick.events.log.postgres_",
        "tallystick.events.log.store_postgres",
        "tallystick.projections.store.names_postgres",
        "tallystick.projections.store.view_postgres",
        "tallystick.webhooks.progress_postgres",
    ),
    "telemetry": ("tallystick.telemetry.from_protobuf",),
}
"""How the names of the modules begin that can be imported only then."""
OF_SEVERAL = ("tallystick.cluster", "tallystick.standby")
"""Modules that need more than one extra."""
OF_OTHERS = ("tallystick.integrations",)
"""Modules that adapt libraries which their users have installed."""
IMPORT_ALL = """
import importlib, pkgutil, tallystick
for module in pkgutil.walk_packages(tallystick.__path__, "tallystick.", onerror=lambda _: None):
    if not module.name.endswith("__main__"):
        try:
            importlib.import_module(module.name)
        except ImportError:
            print(module.name)
"""
ALERT = """
from tallystick.actors.runtime.sender import problem_of
print(problem_of("json://127.0.0.1/", {}))
"""


PROTOBUF = """
from tallystick.telemetry.answers import MissingPackages, protobuf
try:
    print(protobuf().response("traces", 0, ""))
except MissingPackages as error:
    print(error)
"""


class Environment:
    """An interpreter with some packages, and nothing of this project's own environment."""

    def __init__(self, folder: Path, python: list[str], paths: list[Path]) -> None:
        self.folder = folder
        self._python, self._paths = python, paths
        (folder / "empty").mkdir()

    def command(self, program: str) -> list[str]:
        found = f"import sys; sys.path[:0] = {[str(path) for path in self._paths]!r}\n{program}"
        return [*self._python, "-c", found]

    def tallystick(self, *words: str) -> list[str]:
        line = f"import runpy; sys.argv = {['tallystick', *words]!r}; runpy.run_module('tallystick', None, '__main__')"
        return self.command(line)

    def run(self, command: list[str]) -> "subprocess.CompletedProcess[str]":
        variables = environment(self.folder)
        place = self.folder / "empty"
        return subprocess.run(
            command, cwd=place, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
        )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("actors", "config", "events", "projections", "tallystick"):
        shutil.copytree(PROJECT / name, folder / "source" / name, ignore=_links)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, folder / "source")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(folder / "source")], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def unpacked(wheel: Path) -> Path:
    """What the wheel has; Python compiles it once for all environments."""
    folder = wheel.parent / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def _links(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if name == "__pycache__" or (Path(folder) / name).is_symlink()}


def linked(folder: Path, unpacked: Path, extra: str | None) -> Environment:
    """An environment of links to what the wheel has, and to what that needs with an extra."""
    packages = folder / "packages"
    packages.mkdir()
    for name in needed(extra):
        package = distribution(name)
        tops = {file.parts[0] for file in package.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            (packages / top).symlink_to(str(package.locate_file(top)))
    for own in unpacked.iterdir():
        (packages / own.name).symlink_to(own)
    return Environment(folder, [sys.executable, "-I", "-S"], [packages])


def check(made: Environment, extra: str | None) -> None:
    """The wheel runs, and what is missing is said where it is asked for, and only there."""
    version = made.run(made.tallystick("--version"))
    assert re.fullmatch(r"tallystick \d+\.\d+\.\d+\n", version.stdout), version.stderr
    imported = made.run(made.command(IMPORT_ALL))
    assert imported.returncode == 0, imported.stderr
    missing = set(imported.stdout.split())
    assert not {name for name in missing if not name.startswith((*chain(*MODULES.values()), *OF_SEVERAL, *OF_OTHERS))}
    assert "tallystick.integrations.calls" not in missing
    for part, modules in MODULES.items():
        is_missing = any(name.startswith(modules) for name in missing)
        assert is_missing == (part not in HAS[extra]), imported.stdout
    checks = {
        "http": check_server,
        "mcp": check_mcp,
        "parquet": check_parquet,
        "notify": check_alerts,
        "postgres": check_postgres,
        "telemetry": check_telemetry,
    }
    for part, check_part in checks.items():
        if extra is None or part in HAS[extra]:
            check_part(made, part in HAS[extra])


def check_parquet(made: Environment, there: bool) -> None:
    message = '{"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}}'
    sent = made.run(made.tallystick("send", message))
    assert sent.returncode == 0, sent.stderr
    exported = made.run(made.tallystick("audit", "export", "--format", "parquet", "--out", "log.parquet"))
    assert (exported.returncode == 0) == there, exported.stderr
    assert there or "pip install 'tallystick[parquet]'" in exported.stderr


def check_alerts(made: Environment, there: bool) -> None:
    problem = made.run(made.command(ALERT))
    said = "None" if there else "apprise is not installed: pip install 'tallystick[notify]'"
    assert problem.stdout.strip() == said, problem.stderr


def check_telemetry(made: Environment, there: bool) -> None:
    read = made.run(made.command(PROTOBUF))
    assert read.returncode == 0, read.stderr
    assert (read.stdout == "b''\n") == there
    assert there or "pip install 'tallystick[telemetry]'" in read.stdout


def check_postgres(made: Environment, there: bool) -> None:
    asked = made.run(made.tallystick("status", "--store", "postgresql://127.0.0.1:1/none"))
    assert asked.returncode == 1
    assert ("pip install 'tallystick[postgres]'" in asked.stderr) != there, asked.stderr
    assert ("cannot be read" in asked.stderr) == there, asked.stderr


def check_mcp(made: Environment, there: bool) -> None:
    asked = made.run(made.tallystick("mcp", "--store", "sqlite:///asked.db"))
    assert (asked.returncode == 0) == there, asked.stderr
    assert there or "pip install 'tallystick[mcp]'" in asked.stderr


def check_server(made: Environment, there: bool) -> None:
    command = made.tallystick("serve", "--port", "0", "--store", "memory:")
    if not there:
        refused = made.run(command)
        assert (refused.returncode, "pip install 'tallystick[server]'" in refused.stderr) == (1, True)
        return
    arguments: dict[str, Any] = {"cwd": made.folder, "env": environment(made.folder), "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, stdout=subprocess.PIPE, **arguments) as server:
        assert server.stdout is not None
        port = urlsplit(server.stdout.readline().decode().split(" at ")[1].strip()).port
        with urlopen(f"http://127.0.0.1:{port}/readyz", timeout=SECONDS) as answer:
            assert answer.read() == b"ready\n"
        called = Request(f"http://127.0.0.1:{port}/mcp", b"{}", {"content-type": "application/json"})
        with pytest.raises(HTTPError) as refused:
            urlopen(called, timeout=SECONDS).close()  # noqa: S310 - it is our own server's
        with refused.value as problem:
            has_mcp = b"pip install 'tallystick[mcp]'" not in problem.read()
            assert problem.code == (406 if has_mcp else 501)
        server.terminate()
        assert server.wait(SECONDS) == 0


@pytest.mark.parametrize("extra", [None, "server", "mcp", "notify", "postgres", "telemetry"])
def test_the_wheel_runs_with_what_it_needs_and_says_what_is_missing(
    unpacked: Path, tmp_path: Path, extra: str | None
) -> None:
    check(linked(tmp_path, unpacked, extra), extra)


def pythons() -> list[str]:
    """The interpreters that are here, of the versions that are supported."""
    found = {}
    for name in ("python3.11", "python3.12", "python3.13", "python3.14", sys.executable):
        asked = [name, "-c", "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"]
        if shutil.which(name):
            answered = subprocess.run(asked, capture_output=True, text=True, check=False)
            if answered.returncode == 0:
                found[answered.stdout.strip()] = name
    return [found[version] for version in sorted(found)]


@pytest.mark.wheels
@pytest.mark.parametrize("extra", [None, *EXTRAS])
@pytest.mark.parametrize("python", pythons(), ids=os.path.basename)
def test_the_wheel_is_installed_into_a_fresh_environment(
    wheel: Path, tmp_path: Path, extra: str | None, python: str
) -> None:
    subprocess.run([python, "-m", "venv", str(tmp_path / "venv")], check=True)
    own = tmp_path / "venv" / "bin" / "python"
    what = str(wheel) if extra is None else f"{wheel}[{extra}]"
    pins = ["--constraint", str(PROJECT / "requirements.txt")]
    pip = [str(own), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *pins, what]
    subprocess.run(pip, check=True, timeout=SECONDS)
    (packages,) = (tmp_path / "venv" / "lib").glob("python3*/site-packages")
    if python == pythons()[0]:
        assert set(sizes_in(packages)) - {"pip", "setuptools", "tallystick"} == needed(extra) - {"setuptools"}
    check(Environment(tmp_path, [str(own), "-I"], []), extra)


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="the page shows Linux on x86-64")
def test_the_reference_lists_the_packages_of_an_installation_and_their_size() -> None:
    """`python -m tests.support.installed` prints the tables anew."""
    listed = _cells(PAGE.read_text(encoding="utf-8"))
    measured = _cells(rows())
    assert list(listed) == list(measured)
    for name, (packages, size) in measured.items():
        assert sorted(listed[name][0]) == sorted(packages), name
        # A package may grow a little with each version.
        assert listed[name][1] == pytest.approx(size, rel=0.2, abs=0.2), name


def _cells(text: str) -> dict[str, tuple[list[str], float]]:
    found = re.findall(r"^\| (`[\w-]+`|together) (?:\| (`.*?) )?\| ([\d.]+) \|$", text, re.MULTILINE)
    assert found
    return {name: (re.findall(r"[\w-]+", packages), float(size)) for name, packages, size in found}
