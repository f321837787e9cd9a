"""The files, folders, classes and functions that the pages about the code name exist."""

import re
from functools import cache
from pathlib import Path

import pytest

from tests.support.pages import PAGES, PROJECT
from tests.support.source_files import source_file

ROOMS = ("actors", "benchmarks", "config", "events", "projections", "tallystick", "tests")
IN_A_ROOM = r"(?:{})/[\w/]*(?:\.\w+)?".format("|".join(ROOMS))
NAMING_CODE = [
    page for page in PAGES if page.name == "CONTRIBUTING.md" or page.parent.name in ("explanation", "decisions")
]


@cache
def defined() -> set[str]:
    """Every class and function of the fleet."""
    found = set()
    for room in ROOMS:
        for path in (PROJECT / room).rglob("*.py"):
            file = source_file(path)
            found.update(file.classes, (name for name, _ in file.functions))
    return found


@pytest.mark.parametrize("page", NAMING_CODE, ids=lambda page: page.stem)
def test_every_file_and_class_that_a_page_names_exists(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = re.findall(r"`([^`\n]+)`", text)
    for name in named:
        if re.fullmatch(IN_A_ROOM, name) and name != "benchmarks/results.json":
            assert (PROJECT / name).exists(), name
        elif re.fullmatch(r"(?:[A-Z][a-z]+){1,5}", name):
            assert name in defined(), name
