"""What is served is what the sources say: building them again gives the same bytes, and types fit."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.pages import PROJECT

WEB = PROJECT / "web"
BUILT = PROJECT / "tallystick/http/static"
KILOBYTES_MAX = 250


@pytest.fixture
def node(without: Callable[[str, str], NoReturn]) -> str:
    found = shutil.which("node")
    if found is None or not (WEB / "node_modules/esbuild").is_dir():
        without("node with the packages that build the dashboard", "npm ci, in web/")
    assert found is not None
    return found


def test_built_files_are_those_of_the_sources(node: str, tmp_path: Path) -> None:
    subprocess.run([node, "build.mjs", str(tmp_path)], cwd=WEB, check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in BUILT.iterdir()}
    assert made.keys() == kept.keys()
    assert [name for name in made if made[name] != kept[name]] == [], "`make web` builds them"


def test_types_of_the_sources_fit(node: str) -> None:
    checked = subprocess.run(
        [node, "node_modules/typescript/bin/tsc", "--noEmit"], cwd=WEB, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout


def test_the_page_is_small_and_asks_for_nothing_else() -> None:
    assert sum(path.stat().st_size for path in BUILT.iterdir()) < KILOBYTES_MAX * 1024
    page = (BUILT / "index.html").read_text(encoding="utf-8")
    assert "http" not in page
    assert "<script>" not in page
    assert "style=" not in page


def test_packages_are_pinned_without_where_they_come_from() -> None:
    package = json.loads((WEB / "package.json").read_text(encoding="utf-8"))
    pins = {**package["dependencies"], **package["devDependencies"]}
    assert all(version[0].isdigit() for version in pins.values()), pins
    lock = (WEB / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
