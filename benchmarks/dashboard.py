"""The dashboard with 10,000 agents in the system's Chromium: how soon it is there, and how smoothly they scroll."""

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.client import served, store_of
from benchmarks.result import Result
from tallystick.fleet import Fleet

AGENTS, TEAMS, AT_ONCE = 10_000, 50, 1_000
LOADS = 5
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync")
_SCROLL = """() => new Promise(done => {
    const grid = document.querySelector('[role=treegrid]');
    const began = performance.now();
    let frames = 0;
    const step = () => {
        frames += 1;
        grid.scrollTop += 120;
        if (performance.now() - began < 3000) requestAnimationFrame(step);
        else done(frames / ((performance.now() - began) / 1000));
    };
    requestAnimationFrame(step);
})"""


def results() -> Iterator[Result]:
    """Nothing where there is no browser."""
    path = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    if path is None:
        return
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        _allocate(store_of(folder))
        with served(folder) as url:
            browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
            page = browser.new_page()
            _load(page, url)  # the first one starts the readers
            seconds = statistics.median(_load(page, url) for _ in range(LOADS))
            yield Result("dashboard.load_10k", seconds, "s", "2 s", seconds / 2, ("<=", 1.0))
            frames = page.evaluate(_SCROLL)
            yield Result("dashboard.scroll_10k", frames, "frames/s", "50 frames/s", frames / 50, (">=", 1.0))
            browser.close()


def _allocate(url: str) -> None:
    with Fleet.open(url, {"total_budget": {"tokens": 10**12}}, notify=False) as fleet:
        fleet.ask([_account(f"team-{i:02}", 10**9) for i in range(TEAMS)])
        for first in range(0, AGENTS, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            fleet.ask([_account(f"agent-{i:05}", 10_000, f"team-{i % TEAMS:02}") for i in numbers])


def _account(agent: str, tokens: int, parent: str | None = None) -> dict[str, Any]:
    below = {} if parent is None else {"parent": parent}
    return {"type": "AllocateBudget", "agent": agent, "budget": {"tokens": tokens}, **below}


def _load(page: Any, url: str) -> float:
    began = time.perf_counter()
    page.goto(url)
    page.wait_for_selector("[data-agent]")
    return time.perf_counter() - began
