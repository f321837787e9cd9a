"""The commands of Ray that the how-to names are for several machines, and are not run: Ray takes their options."""

import importlib

import pytest

from tests.support.pages import PROJECT, blocks
from tests.support.ray_cluster import needed


def test_ray_takes_the_options_that_the_page_names() -> None:
    needed()
    start = importlib.import_module("ray.scripts.scripts").start
    page = blocks(PROJECT / "docs/how-to/run-many-fleets.md")
    lines = [line.split() for block in page if block.language == "text" for line in block.text.splitlines()]
    commands = [words[2:] for words in lines if words[:2] == ["ray", "start"]]
    assert len(commands) == 2
    for options in commands:
        assert start.make_context("ray start", list(options)).params["address" if "--address" in options else "head"]
    with pytest.raises(Exception, match="No such option"):
        start.make_context("ray start", ["--heads"])
