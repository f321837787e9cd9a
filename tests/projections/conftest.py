"""What tests of views that are kept share: a fleet with a log of some size."""

from contextlib import closing
from pathlib import Path

import pytest

from tallystick.events.log.store import open_store
from tests.support.view_logs import write
from tests.support.view_places import Views, empty_database, views_for
from tests.support.view_programs import LOG


@pytest.fixture(params=["file", "database"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fleet with a log of some size, in each place that keeps views."""
    url = f"sqlite:///{tmp_path}/fleet.db" if request.param == "file" else empty_database()
    with closing(open_store(url, writer=True)) as store:
        write(store, LOG)
    return url


@pytest.fixture
def views(url: str) -> Views:
    """Its views, which are not there yet."""
    return views_for(url)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a rebuild takes several pages."""
    monkeypatch.setattr("tallystick.projections.store.projector.PAGE", 150)
