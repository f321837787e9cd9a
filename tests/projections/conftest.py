"""What tests of files of views share: a fleet with a log of some size."""

from contextlib import closing
from pathlib import Path

import pytest

from tallystick.events.log.store import open_store
from tests.support.view_logs import views_of, write
from tests.support.view_programs import LOG


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A fleet with a log of some size."""
    url = f"sqlite:///{tmp_path}/fleet.db"
    with closing(open_store(url, writer=True)) as store:
        write(store, LOG)
    return url


@pytest.fixture
def views(url: str) -> Path:
    """The file of its views, which is not there yet."""
    return views_of(url)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a rebuild takes several pages."""
    monkeypatch.setattr("tallystick.projections.store.projector.PAGE", 150)
