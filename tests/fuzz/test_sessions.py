"""Whole sessions through the live fleet: whatever is said, in whatever order, it is answered and the books are right.

``make fuzz`` plays fresh ones for half an hour. What it found lies in ``found/``, cut down, and is played here.
"""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.examples import THOROUGH
from tests.support.fuzz_play import Finding, play
from tests.support.fuzz_session import Session, Step, session
from tests.support.fuzz_shrink import shrunk

FOUND = sorted((Path(__file__).parent / "found").glob("*.json"))
SEEDS = [*range(12)] if THOROUGH else [0, 1, 2, 4, 5]
"""An ordinary run leaves out the one that takes longer than all the others together."""


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_session_is_answered_from_its_first_message_to_its_last(seed: int, tmp_path: Path) -> None:
    made = session(seed)
    assert play(made, tmp_path).messages >= sum(step.kind == "ask" for step in made.steps)


@pytest.mark.parametrize("file", FOUND, ids=[file.stem for file in FOUND])
def test_what_found_something_once_finds_nothing_now(file: Path, tmp_path: Path) -> None:
    found = json.loads(file.read_text(encoding="utf-8"))
    play(Session(found["config"], [Step(*step) for step in found["steps"]]), tmp_path)


def test_a_seed_is_the_whole_session() -> None:
    assert session(7) == session(7) != session(8)


def test_what_is_found_is_cut_down_to_the_messages_that_it_takes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fails_on_two(made: Session, folder: Path) -> None:
        """Finds something where ``b`` is asked after ``a``."""
        said = [one for step in made.steps for one in (step.what if step.kind == "list" else [step.what])]
        if "a" in said and "b" in said[said.index("a") :]:
            raise Finding("both", "a, then b")

    monkeypatch.setattr("tests.support.fuzz_shrink.play", fails_on_two)
    steps = [Step("ask", "x"), Step("list", ["y", "a", "z"]), *[Step("ask", "w")] * 9, Step("list", ["b", "v"])]
    short = shrunk(Session({"one": 1, "two": 2}, steps), "both", 10)
    assert short == Session({}, [Step("ask", "a"), Step("ask", "b")])
