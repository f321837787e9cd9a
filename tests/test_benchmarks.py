"""Benchmarks are run by hand: what they call must be there all the same."""

import importlib
from pathlib import Path

import pytest

from tests.support.pages import PROJECT

IN_OTHER_ENVIRONMENTS = {"peers.by_agentbudget", "peers.by_litellm", "peers.by_tokenops"}
"""What these import is there where `make bench-peers` installed it; one of them takes seconds, and sets a variable."""
FOLDER = Path(PROJECT, "benchmarks")
FOUND = {".".join(path.relative_to(FOLDER).with_suffix("").parts) for path in FOLDER.rglob("[a-z]*.py")}
NAMES = sorted(FOUND - IN_OTHER_ENVIRONMENTS)


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_finds_all_that_it_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
