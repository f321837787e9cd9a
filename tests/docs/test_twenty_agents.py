"""The README's program of twenty agents: in process and over HTTP with one line changed, in few lines, and killed."""

import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tallystick import Client
from tests.support.pages import PROJECT, Block, blocks, environment, run_python
from tests.support.programs import until
from tests.support.serving import Served

LINES_MAX = 15
WITHOUT_A_BUDGET = """
import asyncio

async def ask_model(model: str) -> dict:
    \"\"\"Stands for the client of a provider: a reply with its usage object.\"\"\"
    return {"model": model, "usage": {"input_tokens": 300, "cache_read_input_tokens": 700, "output_tokens": 150}}

async def research(number: int) -> None:
    for _ in range(3):
        await ask_model("sonnet")

async def main() -> None:
    await asyncio.gather(*(research(number) for number in range(20)))

asyncio.run(main())
"""
"""The program's own logic."""


def found() -> tuple[str, str, str]:
    """The program, what it prints, and the line of it that is another over HTTP."""
    page = blocks(PROJECT / "README.md")
    place, printed = next((i, after) for i, (one, after) in enumerate(pairwise(page)) if "gather(" in one.text)
    line: Block = page[place + 2]
    assert (printed.language, line.language) == ("output", "text")
    return page[place].text, printed.text, line.text


PROGRAM, PRINTED, OVER_HTTP = found()
(IN_PROCESS,) = (f"{line}\n" for line in PROGRAM.splitlines() if "Fleet.open" in line)


def over_http(port: int) -> str:
    assert PROGRAM.count(IN_PROCESS) == OVER_HTTP.count("\n") == 1
    return PROGRAM.replace(IN_PROCESS, OVER_HTTP.replace(":8321", f":{port}"))


def test_in_process_and_over_http_it_prints_the_same_with_one_line_changed(tmp_path: Path) -> None:
    server = Served(tmp_path)
    program = over_http(server.port)
    changed = [pair for pair in zip(PROGRAM.splitlines(), program.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1
    assert run_python(PROGRAM, tmp_path) == PRINTED
    assert run_python(program, tmp_path) == PRINTED
    with Client(f"http://127.0.0.1:{server.port}") as client:
        assert client.ask({"type": "GetGlobalStatus"})["ok"]["agent_statuses"] == []
    assert server.stop() == 0


def lines(program: str) -> Counter[str]:
    """The lines in which something is said; how far they are indented says nothing."""
    return Counter(line.strip() for line in program.splitlines() if line.strip())


def test_it_has_few_lines_beyond_the_programs_own_logic(tmp_path: Path) -> None:
    run_python(WITHOUT_A_BUDGET, tmp_path)
    beyond = lines(PROGRAM) - lines(WITHOUT_A_BUDGET)
    assert 0 < beyond.total() <= LINES_MAX, beyond


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL is of POSIX")
def test_when_it_is_killed_the_leases_end_all_that_it_had_open(tmp_path: Path) -> None:
    """Its models never answer, its leases are short, and half of its agents say that what is open then was used."""
    reply = next(line for line in PROGRAM.splitlines() if line.startswith("    return {"))
    changes = {
        f"{reply}\n": "    await asyncio.sleep(3_600)\n",
        'usd="0.25")': 'usd="0.25", lease_seconds=5, on_crash=("release", "spend")[number % 2])',
        "usd=10)": "usd=10, lease_seconds=5)",
    }
    server = Served(tmp_path)
    program = over_http(server.port)
    for old, new in changes.items():
        assert program.count(old) == 1
        program = program.replace(old, new)
    with Client(f"http://127.0.0.1:{server.port}") as client:

        def ok(**message: Any) -> Any:
            return client.ask(message)["ok"]

        process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment(tmp_path))
        try:
            until(lambda: len(ok(type="GetHolds", state="open")["holds"]) == 20)
            assert len(ok(type="GetGlobalStatus")["agent_statuses"]) == 21
        finally:
            process.kill()
            process.wait()
        until(lambda: ok(type="GetGlobalStatus")["agent_statuses"] == [])
        assert ok(type="GetHolds", state="open")["holds"] == []
        assert ok(type="GetGlobalStatus")["total_consumed"]["tokens"] == 10 * 1_000
    assert server.stop() == 0
