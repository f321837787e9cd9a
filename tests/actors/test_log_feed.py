"""Who follows a log is called with every batch, whoever else comes and goes meanwhile."""

import threading
from collections.abc import Sequence

from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.events.log.store import Record, open_store

BATCH = [Record(1, "one.v1", b"{}")]


class Slow:
    """A follower that is compared with others for so long that another thread comes in between."""

    def __init__(self, feed: LogFeed, other: "list[Record]") -> None:
        self.thread = threading.Thread(target=feed.follow, args=(other.extend,), daemon=True)

    def __call__(self, records: Sequence[Record]) -> None:
        """It does nothing with them."""

    def __ne__(self, other: object) -> bool:
        if self.thread.ident is None:
            self.thread.start()
            self.thread.join(0.2)
        return super().__ne__(other)


def test_one_that_comes_while_another_goes_is_not_forgotten() -> None:
    feed = LogFeed(open_store("memory:", writer=True))
    got: list[Record] = []
    slow = Slow(feed, got)
    feed.follow(slow)
    feed.unfollow(lambda _: None)
    slow.thread.join()
    feed.publish(BATCH)
    assert got == BATCH
