"""The conformance tests of the protocol's own project, against a server process."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.pages import PROJECT
from tests.support.serving import Served

FOLDER = PROJECT / "web" / "conformance"
NOT_OFFERED = PROJECT / "tests" / "mcp" / "not-offered.yml"
PROGRAM = FOLDER / "node_modules/@modelcontextprotocol/conformance/dist/index.js"
NODE_MIN = 22
GENERIC = {"dns-rebinding-protection", "ping", "resources-list", "server-initialize", "tools-list"}
"""The scenarios that need neither fixtures nor what is not offered."""
SECONDS = 120


def without(text: str) -> NoReturn:
    """Skip; where everything is checked, that is an error."""
    if os.environ.get("CI"):
        pytest.fail(f"{text}; with CI set, nothing is skipped")
    pytest.skip(text)


@pytest.fixture
def node() -> str:
    """A node that is new enough: the machine's, or the one that is installed beside the tests."""
    if not PROGRAM.is_file():
        without("the conformance tests are not here: npm ci, in web/conformance/")
    beside = (str(path) for path in FOLDER.glob("node_modules/node-*/bin/node"))
    for found in (shutil.which("node"), *beside):
        if found is not None and _version(found) >= NODE_MIN:
            return found
    without(f"no node of version {NODE_MIN} or newer is here: npm ci, in web/conformance/")


def _version(node: str) -> int:
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.lstrip("v").partition(".")[0])


def test_the_scenarios_that_need_no_fixture_pass_and_the_others_are_listed(node: str, tmp_path: Path) -> None:
    server = Served(tmp_path)
    ran = subprocess.run(
        [node, PROGRAM, "server", "--url", f"{server.url}/mcp", "--suite", "all", "--expected-failures", NOT_OFFERED],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert server.stop() == 0
    said = re.sub(r"\x1b\[\d+m", "", ran.stdout + ran.stderr)
    assert ran.returncode == 0, said[-3_000:]
    passed = re.findall(r"^✓ ([\w-]+): [1-9]\d* passed, 0 failed", said, re.MULTILINE)
    assert set(passed) == GENERIC
    assert "Traceback" not in server.log.read_text(encoding="utf-8")
