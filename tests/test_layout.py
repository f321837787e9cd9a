"""The project stays as it is laid out: imports point one way, and one package is installed, each module once."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from itertools import chain
from pathlib import Path

import pytest

from tests.support.source_files import source_file

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("actors", "config", "events", "projections")
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))

MAY_IMPORT = {
    "tallystick.config": set(),
    "tallystick.events.catalog": {"tallystick.config"},
    "tallystick.events.messages": {"tallystick.events.catalog", "tallystick.config"},
    "tallystick.events.state": {"tallystick.events.messages", "tallystick.events.catalog", "tallystick.config"},
    "tallystick.events.evolve": {
        "tallystick.events.state",
        "tallystick.events.messages",
        "tallystick.events.catalog",
        "tallystick.config",
    },
    "tallystick.events.decide": {
        "tallystick.events.evolve",
        "tallystick.events.state",
        "tallystick.events.messages",
        "tallystick.events.catalog",
        "tallystick.config",
    },
    "tallystick.events.log": {
        "tallystick.events.evolve",
        "tallystick.events.state",
        "tallystick.events.messages",
        "tallystick.events.catalog",
        "tallystick.config",
    },
    "tallystick.events": set(),
    "tallystick.actors.policies": {"tallystick.actors.policies", "tallystick.events", "tallystick.config"},
    "tallystick.actors": {"tallystick.actors", "tallystick.events", "tallystick.config"},
    "tallystick.projections.views": {"tallystick.events", "tallystick.config"},
    "tallystick.projections.store": {"tallystick.projections.views", "tallystick.events", "tallystick.config"},
    "tallystick.projections.reports": {
        "tallystick.projections.store",
        "tallystick.projections.views",
        "tallystick.events",
        "tallystick.config",
    },
    "tallystick.projections": {"tallystick.projections", "tallystick.events", "tallystick.config"},
    "tallystick.whatif": {
        "tallystick.actors",
        "tallystick.events",
        "tallystick.config",
        "tallystick.explain",
        "tallystick.wording",
    },
    "tallystick": {"tallystick"},
}
"""What each room may import of ours, besides itself; the first prefix that fits a module is its room."""

WITHOUT_CIRCLES = ("tallystick.config", "tallystick.events", "tallystick.projections", "tallystick.whatif")
"""Rooms in which no two modules import each other, directly or by way of others."""

OUTSIDE_THE_CORE = {"logging", "os", "pykka", "random", "threading", "time"}
THE_OUTSIDE = ("tallystick.events.log.store", "tallystick.events.log.postgres")
"""The stores are all of the core that touches the outside."""
LINES_OF_A_FILE, LINES_OF_A_FUNCTION = 400, 70
MADE = {".git", ".hypothesis", ".venv", ".venv-focus", ".venv-peers", "__pycache__", "build", "dist", "node_modules"}


def modules() -> Iterator[tuple[str, Path]]:
    """Every module of the package, by the name under which it is imported; the links in tallystick/ are passed by."""
    for room in (*ROOMS, "tallystick"):
        for path in sorted((PROJECT / room).rglob("*.py")):
            parts = path.relative_to(PROJECT).with_suffix("").parts
            if room != "tallystick":
                parts = ("tallystick", *parts)
            elif parts[1] in ROOMS:
                continue
            yield ".".join(parts).removesuffix(".__init__"), path


MODULES = dict(modules())


def within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def imports(name: str, path: Path) -> set[str]:
    """What a module imports; `from package import module` counts as the module."""
    found = set()
    for line, level, module, imported in source_file(path).imports:
        assert level == 0, f"{name}, line {line}: write the import out, from tallystick on"
        full = f"{module}.{imported}"
        found.add(full if full in MODULES else module)
    return found


def test_imports_point_one_way() -> None:
    for name in sorted(MODULES):
        room = next(prefix for prefix in MAY_IMPORT if within(name, prefix))
        allowed = MAY_IMPORT[room]
        ours = {module for module in imports(name, MODULES[name]) if within(module, "tallystick")}
        wrong = {module for module in ours if not any(within(module, prefix) for prefix in allowed | {room})}
        assert not wrong, f"{name} is in the room {room}, which may import {sorted(allowed) or 'nothing of ours'}"


def test_no_two_rooms_import_each_other() -> None:
    rooms = {room: {other for other in allowed if other != room} for room, allowed in MAY_IMPORT.items()}
    TopologicalSorter(rooms).prepare()


def test_only_the_audit_and_the_command_line_import_what_if() -> None:
    importers = {
        name for name, path in MODULES.items() if any(within(one, "tallystick.whatif") for one in imports(name, path))
    }
    outside = {name for name in importers if not within(name, "tallystick.whatif")}
    assert {name for name in outside if not within(name, "tallystick.audit")} == {"tallystick.cli.whatif"}


@pytest.mark.parametrize("room", WITHOUT_CIRCLES)
def test_no_module_of_a_room_imports_itself_by_way_of_others(room: str) -> None:
    names = {name for name in MODULES if within(name, room)}
    TopologicalSorter({name: imports(name, MODULES[name]) & names for name in names}).prepare()


def test_a_file_is_read_in_one_sitting_and_a_function_on_one_screen() -> None:
    files = {name: source_file(path) for name, path in MODULES.items()}
    assert not [name for name, file in files.items() if file.lines > LINES_OF_A_FILE]
    long = {
        f"{name}.{function}": length
        for name, file in files.items()
        for function, length in file.functions
        if length > LINES_OF_A_FUNCTION
    }
    assert not long


def test_the_core_reads_no_clock_and_touches_nothing_outside() -> None:
    for name, path in MODULES.items():
        if not within(name, "tallystick.events") or name.startswith(THE_OUTSIDE):
            continue
        outside = {module for module in imports(name, path) if module.split(".")[0] in OUTSIDE_THE_CORE}
        assert not outside, name
        assert not source_file(path).clocks, f"{name}: time is an argument"


def test_no_file_imports_a_room_by_its_folder_name() -> None:
    ours = [*MODULES.values(), *(PROJECT / "tests").rglob("*.py"), *(PROJECT / "benchmarks").rglob("*.py")]
    for path in ours:
        roots = {module.split(".")[0] for module in imports(path.name, path)}
        assert not roots & set(ROOMS), f"{path.name}: rooms are imported as tallystick.<room>"


def test_no_test_imports_another() -> None:
    for path in sorted((PROJECT / "tests").rglob("*.py")):
        shared = {module for module in imports(path.name, path) if module.startswith("tests.")}
        wrong = {module for module in shared if not module.startswith("tests.support")}
        assert not wrong, f"{path.relative_to(PROJECT)}: what tests share is in tests/support"


def test_every_folder_of_modules_is_packaged() -> None:
    setuptools = PYPROJECT["tool"]["setuptools"]
    folders = {
        name if path.name == "__init__.py" else name.rpartition(".")[0]: path.parent.relative_to(PROJECT).as_posix()
        for name, path in MODULES.items()
    }
    assert set(setuptools["packages"]) == set(folders)
    assert setuptools["package-dir"] == folders
    assert all((PROJECT / folder / "__init__.py").is_file() for folder in folders.values())


@pytest.mark.parametrize("links", [False, True], ids=["without the links", "with the links"])
def test_a_wheel_holds_each_module_once_and_installs_one_name(tmp_path: Path, links: bool) -> None:
    clone = tmp_path / "clone"
    leave_out = shutil.ignore_patterns("__pycache__", *(() if links else ROOMS))
    shutil.copytree(PROJECT / "tallystick", clone / "tallystick", symlinks=True, ignore=leave_out)
    for room in ROOMS:
        shutil.copytree(PROJECT / room, clone / room, ignore=shutil.ignore_patterns("__pycache__"))
        assert (clone / "tallystick" / room).exists() == links, "make install makes the links"
    for file in ("pyproject.toml", "LICENSE"):
        shutil.copy(PROJECT / file, clone / file)

    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(tmp_path), str(clone)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()

    held = Counter(name for name in names if ".dist-info/" not in name)
    wanted = {
        f"{name.replace('.', '/')}{'/__init__' if path.name == '__init__.py' else ''}.py"
        for name, path in MODULES.items()
    }
    data = {"tallystick/py.typed", "tallystick/config/resource-limits.yml", "tallystick/config/prices.yml"}
    pages = {f"tallystick/http/static/{name}" for name in ("index.html", "app.js", "app.css", "icon.svg")}
    assert held == Counter(wanted | data | pages)


def test_requirements_pin_every_dependency_exactly() -> None:
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r'[A-Za-z0-9._-]+==[^ ;]+( ; sys_platform [!=]= "win32")?', pin) for pin in pins)
    pinned = {canonical(pin.partition("==")[0]) for pin in pins}
    project = PYPROJECT["project"]
    named = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    assert {canonical(re.split(r"[<>=\[]", name)[0]) for name in named} <= pinned


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_no_file_names_a_package_index() -> None:
    # The words are put together here, so that this file does not hold them itself.
    words = ["index" + "-url", "index" + "_url", "pypi" + ".org", "files.python" + "hosted", "find" + "-links"]
    forbidden = re.compile("|".join(map(re.escape, words)))
    for path in files_of_the_project():
        found = forbidden.search(path.read_bytes().decode("utf-8", errors="replace"))
        assert found is None, f"{path.relative_to(PROJECT)} names a package index: {found}"


def files_of_the_project() -> Iterator[Path]:
    """Every file that people wrote: neither git's, nor what was installed or built here."""
    for folder, subfolders, files in os.walk(PROJECT):
        made = {name for name in subfolders if name in MADE or name.endswith(("_cache", ".egg-info"))}
        subfolders[:] = sorted(set(subfolders) - made)
        yield from (Path(folder) / file for file in files)
