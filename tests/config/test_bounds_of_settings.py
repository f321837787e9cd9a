"""Every number of the configuration has a lowest and a highest value, and one beyond is refused by their names."""

import re
from decimal import Decimal
from typing import Any

import pytest

from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping
from tests.support.extremes import EXTREMES, put
from tests.support.pages import PROJECT

ALLOWED = dict(
    re.findall(
        r"^\| `(\S+)` \| (a(?: whole)? number .*) \|$",
        (PROJECT / "docs/reference/configuration.md").read_text(encoding="utf-8"),
        re.MULTILINE,
    )
)
"""By key, what the reference says: a NAME in it stands for any, and N for any place in a list."""
SINGLE = {key: [str(value) for k, value in EXTREMES if k == key] for key, _ in EXTREMES}


def words_for(key: str) -> str:
    return next(words for listed, words in ALLOWED.items() if _pattern(listed).fullmatch(key))


def _pattern(listed: str) -> re.Pattern[str]:
    return re.compile(re.escape(listed).replace("NAME", r"[\w-]+").replace(r"\[N\]", r"\[\d+\]"))


def mapping(key: str, value: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    put(made, key, Decimal(value))
    return made


@pytest.mark.parametrize("key", SINGLE)
def test_one_beyond_the_lowest_or_the_highest_is_refused_by_the_bounds_that_the_reference_names(key: str) -> None:
    lowest, highest = map(Decimal, SINGLE[key])
    words = words_for(key)
    assert str(highest) in words
    step = Decimal(1) if "whole" in words else Decimal(1).scaleb(-int(words.split()[-2]))
    for beyond in (lowest - step, highest + step):
        with pytest.raises(ConfigError) as caught:
            from_mapping(mapping(key, f"{beyond:f}"))
        assert str(caught.value).startswith(f"{key}: found {beyond}, allowed is {words}")


def test_every_number_of_the_reference_was_tried() -> None:
    assert len(SINGLE) == len(ALLOWED)
