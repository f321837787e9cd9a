"""A browser for the dashboard: the system's Chromium, driven by Playwright. Without one, these tests are skipped."""

import datetime as dt
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml

from tests.support.pages import PROJECT
from tests.support.serving import Answer, Client, Served
from tests.support.watched_fleet import LIMITS, begin_tasks, with_a_week_behind_it

try:
    from playwright.sync_api import sync_playwright
except ImportError:
    sync_playwright = None

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
AXE = PROJECT / "web/node_modules/axe-core/axe.min.js"
PICTURES = PROJECT / "docs/images"


@pytest.fixture(name="without", scope="session")
def _without() -> Callable[[str, str], NoReturn]:
    return without


def without(what: str, how: str) -> NoReturn:
    """Skip, with what is missing; where everything is checked, that is an error."""
    text = f"{what} is not here: {how}"
    if os.environ.get("CI"):
        pytest.fail(f"{text}; with CI set, nothing is skipped")
    pytest.skip(text)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Not for longer than a file: while it runs, Playwright has an event loop in this thread, and no other can."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        without("a browser", "apt-get install chromium")
    if sync_playwright is None:
        without("playwright", "make install")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> str:
    if not AXE.is_file():
        without("axe-core", "npm ci, in web/")
    return AXE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def url(folder: Path) -> str:
    return f"sqlite:///{folder / 'fleet.db'}"


@pytest.fixture(scope="module")
def served(folder: Path, url: str, chromium: Any) -> Iterator[Served]:
    with_a_week_behind_it(url, yaml.safe_load(LIMITS), dt.datetime.now(dt.UTC))
    server = Served(folder)
    client = server.client()
    begin_tasks(client)
    client.close()
    yield server
    assert server.stop() == 0


class NowAndThen(Client):
    """Connects anew for each call: in between, the server would end a connection that nothing comes over."""

    def call(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        try:
            return super().call(method, path, body, headers)
        finally:
            self.close()


@pytest.fixture
def client(served: Served) -> Client:
    return NowAndThen(served.port)


@pytest.fixture
def opened(open_anywhere: Any, served: Served) -> Callable[..., Any]:
    """Opens the dashboard of the served fleet."""

    def open_page(path: str = "/", **options: Any) -> Any:
        return open_anywhere(f"http://127.0.0.1:{served.port}", path, **options)

    open_page.wrong = open_anywhere.wrong  # type: ignore[attr-defined]
    return open_page


@pytest.fixture
def open_anywhere(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Opens a dashboard, and fails where it asks elsewhere, breaks its policy, or says an error."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def open_page(address: str, path: str = "/", width: int = 1440, height: int = 1000, scheme: str = "light") -> Any:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on(
            "request", lambda asked: None if asked.url.startswith(f"{address}/") else wrong.append(f"asked {asked.url}")
        )
        # That an order was refused is noted by the browser itself; it is no error of the page.
        page.on(
            "console",
            lambda said: (
                wrong.append(said.text)
                if said.type in ("error", "warning") and "status of 409" not in said.text
                else None
            ),
        )
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(f"{address}{path}")
        page.wait_for_selector("[data-testid=as-of]")
        page.wait_for_selector("[data-agent]")
        return page

    open_page.wrong = wrong  # type: ignore[attr-defined]
    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def picture(tmp_path: Path) -> Callable[..., None]:
    """Takes a picture: for the pages where ``TALLYSTICK_PICTURES`` is set, as `make pictures` does."""
    folder = PICTURES if os.environ.get("TALLYSTICK_PICTURES") else tmp_path

    def take(page: Any, name: str) -> None:
        folder.mkdir(exist_ok=True)
        if folder is PICTURES:
            page.wait_for_timeout(400)  # what is animated has come to rest
        page.screenshot(path=folder / f"{name}.png")
        assert (folder / f"{name}.png").stat().st_size > 10_000

    return take
