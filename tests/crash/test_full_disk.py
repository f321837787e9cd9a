"""A disk that is full: the fleet stops with a sentence, and what it acknowledged is there afterwards."""

import sys
from pathlib import Path

import pytest

from tests.support.crashing import SECONDS, Lives

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of file sizes are of POSIX")


@pytest.mark.parametrize("limit", [800_000, 1_200_000, 3_000_000])
def test_a_full_disk_stops_the_fleet_with_a_sentence_and_loses_nothing(tmp_path: Path, limit: int) -> None:
    lives = Lives(f"sqlite:///{tmp_path}/fleet.db")
    process = lives.begin(FILE_SIZE_MAX=str(limit))
    output, _ = process.communicate(timeout=SECONDS)
    for line in output.splitlines(keepends=True):
        lives.hear(line)
    assert process.returncode == 0, "it came down by itself"
    assert len(lives.acknowledged) > 50

    opened, *halted, fleet, closed = lives.other_lines
    assert (opened, closed) == ("open", "closed")
    answers = [line.split(" ", 2) for line in halted]
    assert {code for code, _, _ in answers} == {"halted"}
    waited = {int(number) for _, number, _ in answers}
    assert waited == {*lives.unacknowledged, -1}, "every waiting caller gets an answer, and one that comes later"
    for _, _, sentence in answers:
        assert "could not be written" in sentence
        assert "must be started again" in sentence
        assert lives.url in sentence
    assert fleet != "fleet None"

    before = lives.check().ledger.position
    assert before > 50
    lives.end_well()
