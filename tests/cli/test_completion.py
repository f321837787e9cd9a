"""Completion: what click's own scripts are answered, and a real bash that is given a Tab."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tallystick.actors.runtime.fleet import Fleet
from tallystick.projections.store.names import names_of
from tests.support.cli import Run
from tests.support.terminals import ROOT, OnTerminal

URL = "sqlite:///tallystick.db"


@pytest.fixture
def names() -> None:
    """A fleet with agents and tasks; views have seen some of them."""
    with Fleet.open(URL) as live:
        for agent in ("writer", "writer/1", "worker", "odd name", "quo'te"):
            live.ask({"type": "AllocateBudget", "agent": agent, "budget": {"tokens": 500}})
        live.ask({"type": "SubmitTask", "task": "T-1", "agent_type": "qa", "product": "shop"})
        live.ask({"type": "SubmitTask", "task": "U-1", "agent_type": "qa", "product": "shop"})
        live.ask({"type": "ReleaseBudget", "agent": "worker"})


def completed(line: str, folder: Path, **environment: str) -> list[str]:
    """What click answers a shell that asks for the last word of a line."""
    words = line.split(" ")
    asked = {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1), "_TALLYSTICK_COMPLETE": "bash_complete"}
    program = "from tallystick.cli.main import main; main(prog_name='tallystick')"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT), **asked, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    assert done.stderr == ""
    return [answer.partition(",")[2] for answer in done.stdout.splitlines() if answer]


@pytest.mark.usefixtures("names")
def test_commands_options_and_names_are_completed(tmp_path: Path) -> None:
    assert "status" in completed("tallystick st", tmp_path)
    assert "--agent" in completed("tallystick status --ag", tmp_path)
    assert completed("tallystick status --agent w", tmp_path) == ["worker", "writer", "writer/1"]
    assert completed("tallystick events --task ", tmp_path) == ["T-1", "U-1"]
    assert completed("tallystick audit explain U", tmp_path) == ["U-1"]
    assert completed("tallystick send res", tmp_path) == ["reset-breaker", "resume"]
    assert completed("tallystick send stop writer/", tmp_path) == ["writer/1"]
    assert completed("tallystick send retry T", tmp_path) == ["T-1"]
    assert completed("tallystick send pause w", tmp_path) == []


@pytest.mark.usefixtures("names")
def test_the_store_is_the_one_that_is_named_so_far(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    there = "sqlite:///../tallystick.db"
    assert completed(f"tallystick status --store {there} --agent writer/", tmp_path / "elsewhere") == ["writer/1"]
    found = completed("tallystick status --agent writer/", tmp_path / "elsewhere", TALLYSTICK_STORE=there)
    assert found == ["writer/1"]
    assert completed("tallystick status --agent writer/", tmp_path / "elsewhere") == []


@pytest.mark.usefixtures("names")
def test_names_are_found_with_views_without_them_and_where_they_are_behind(run: Run, tmp_path: Path) -> None:
    expected = ["odd name", "quo'te", "worker", "writer", "writer/1"]
    assert [name for name in names_of(URL, "agents", "") if "-1" not in name] == expected
    assert not Path("tallystick.db.views").exists()
    run("status")
    with Fleet.open(URL) as live:
        live.ask({"type": "AllocateBudget", "agent": "wanda", "budget": {"tokens": 5}})
        assert names_of(URL, "agents", "w") == ["wanda", "worker", "writer", "writer/1"]
    assert names_of(URL, "agents", "quo'") == ["quo'te"]
    assert names_of(URL, "agents", "w%") == []


@pytest.mark.usefixtures("names")
def test_archived_agents_are_named_by_the_views(run: Run) -> None:
    run("status")
    assert run("store", "archive", "--before", "2099-01-01").exit_code == 0
    assert names_of(URL, "agents", "w") == ["worker", "writer", "writer/1"]


def test_what_cannot_be_read_has_no_names_and_says_nothing(tmp_path: Path) -> None:
    Path("tallystick.db").write_text("no database")
    for url in (URL, "sqlite:///none.db", "nonsense", "memory:"):
        assert names_of(url, "agents", "") == []
    assert completed("tallystick status --agent ", tmp_path) == []
    with closing(sqlite3.connect("other.db")) as connection:
        connection.execute("CREATE TABLE t (x)")
    assert names_of("sqlite:///other.db", "tasks", "") == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.db", "tallystick.db"]


@pytest.mark.parametrize(("shell", "word"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --no")])
def test_a_script_is_printed_for_each_shell(run: Run, shell: str, word: str) -> None:
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("there is no bash")
    result = run("completion", shell)
    assert result.exit_code == 0
    assert word in result.stdout
    assert "_TALLYSTICK_COMPLETE" in result.stdout
    assert run("completion", "tcsh").exit_code == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.usefixtures("names")
def test_tab_completes_in_a_real_bash(tmp_path: Path) -> None:
    program = tmp_path / "tallystick"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m tallystick "$@"\n')
    program.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    with OnTerminal(program=("bash", "--norc", "--noprofile", "-i"), PATH=path, TALLYSTICK_STORE=URL) as shell:
        shell.press('eval "$(tallystick completion bash)"; echo it is $((40 + 2))\r')
        shell.wait_for("it is 42")
        shell.press("echo : && tallystick status --agent wor\t")
        shell.wait_for("--agent worker")
        shell.press("\x15exit\r")
        shell.wait_for_end()
