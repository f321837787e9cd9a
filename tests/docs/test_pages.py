"""Every program and command in the documentation is run, and prints what the page shows."""

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.pages import BY_HAND, PAGES, PROJECT, Block, as_said, blocks, run_console, run_python, typed
from tests.support.postgres import PostgresServer, running
from tests.support.ray_cluster import needed
from tests.support.started import SERVER

LANGUAGES = {"python", "output", "console", "text", "json", "yaml"}
"""Blocks of ``text``, ``json`` and ``yaml`` are not run."""


def name(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


SLOW = "docs/how-to/run-many-fleets.md"
"""Starts a cluster, three times: `make cluster` runs it."""
RUNNING = [
    pytest.param(page, marks=[pytest.mark.cluster] if name(page) == SLOW else [])
    for page in PAGES
    if any(block.language in ("python", "console") for block in blocks(page))
]


@pytest.fixture
def own_server() -> Iterator[PostgresServer]:
    """For pages that make databases."""
    with running() as server:
        yield server


@pytest.fixture
def own_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """For the page that starts Ray: it finds and ends none that runs beside it."""
    needed()
    # Its sockets are in there, and their paths are short.
    with tempfile.TemporaryDirectory(prefix="ts-", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("RAY_TMPDIR", folder)
        yield
        # Where the page did not get to its end. Otherwise, none is there.
        subprocess.run([sys.executable, "-m", "tallystick", "cluster", "down"], capture_output=True, check=False)


@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_a_page_does_what_it_says(
    page: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the page that newcomers read first, and where processes matter, the commands are the installed ones."""
    programs = None if name(page) in ("README.md", SLOW) else SERVER.prepared.commands()
    if "sqlite3 " in page.read_text(encoding="utf-8") and shutil.which("sqlite3") is None:
        pytest.skip("the sqlite3 shell is not installed")
    if "createdb " in page.read_text(encoding="utf-8"):
        # What PostgreSQL's own programs look for where nothing else is said.
        server = request.getfixturevalue("own_server")
        monkeypatch.setenv("PGHOST", str(server.folder))
        monkeypatch.setenv("PGUSER", "tests")
    if name(page) == SLOW:
        request.getfixturevalue("own_ray")
    found = blocks(page)
    for block, after in pairwise([*found, Block("", "", 0)]):
        if block.language == "python":
            printed = run_python(block.text, tmp_path)
            said = after.text if after.language == "output" else ""
            assert as_said(said, printed), f"{name(page)}:{block.line} prints\n{printed}\nand the page shows\n{said}"
        elif block.language == "console":
            check_console(page, block, tmp_path, programs)


def check_console(page: Path, block: Block, folder: Path, programs: Path | None) -> None:
    commands = [one for one in typed(block) if not BY_HAND.match(one.command)]
    for one, answered in zip(commands, run_console(commands, folder, programs), strict=True):
        place = f"{name(page)}:{one.line}"
        assert as_said(one.answer, answered), (
            f"{place}: {one.command}\nprints\n{answered}\nand the page shows\n{one.answer}"
        )


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_in_a_language_that_is_checked_or_plain(page: Path) -> None:
    assert {block.language for block in blocks(page)} <= LANGUAGES
    assert page.read_text(encoding="utf-8").count("\n```") == 2 * len(blocks(page))


def test_every_make_target_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target for page in PAGES for target in re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text(encoding="utf-8"))
    }
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{name(page)} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{name(page)} links to {target}"


def test_no_page_names_a_path_of_one_machine() -> None:
    for page in PAGES:
        assert not re.search(r"/(work|home|root|tmp)/", page.read_text(encoding="utf-8")), name(page)


def test_the_readmes_program_may_be_run_again_and_spends_once(tmp_path: Path) -> None:
    program, printed = next(
        (block.text, after.text)
        for block, after in pairwise(blocks(PROJECT / "README.md"))
        if block.language == "python" and after.language == "output"
    )
    assert [run_python(program, tmp_path) for _ in range(3)] == [printed] * 3
