"""A receiver of a fleet's webhooks, for which a closing waits as long as it takes."""

from collections.abc import Iterator

import pytest

from tallystick.webhooks import webhooks
from tests.support.programs import SECONDS
from tests.support.webhooks import Answering, answering


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    monkeypatch.setattr(webhooks, "FINISH_SECONDS", SECONDS)
    with answering() as made:
        yield made
