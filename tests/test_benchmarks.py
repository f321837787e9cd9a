"""Benchmarks are run by hand: what they call must be there all the same."""

import importlib
from pathlib import Path

import pytest

from tests.support.pages import PROJECT

NAMES = sorted(path.stem for path in Path(PROJECT, "benchmarks").glob("[a-z]*.py"))


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_finds_all_that_it_imports(name: str) -> None:
    importlib.import_module(f"benchmarks.{name}")
