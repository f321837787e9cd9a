"""The fleet of a demonstration: the real manager and people on one thread, under the agents' clock.

Two people who hear of the same batch would else propose in either order, and the same workload would not give the same
log. Who follows hears of each recorded batch, as those do who follow a live fleet.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Self

from tallystick.actors.runtime.messages import Envelope, Post, Recorded
from tallystick.actors.runtime.simulation import SimulatedFleet
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.log.codec import decode_answer, encode_command
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Record, Store

Follow = Callable[[Sequence[e.Event]], None]


class Stage(SimulatedFleet):
    """A fleet that tells its followers of what it recorded."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.followers: Sequence[Follow] = ()
        self.publish: Callable[[Sequence[Record]], None] = lambda _: None
        """Called with the records of every batch."""

    @classmethod
    def opened(
        cls,
        store: Store,
        config: Config,
        prices: PriceList | None,
        now: dt.datetime,
        followers: Sequence[Follow],
    ) -> Self:
        """Open an empty store; followers hear of everything from the first event on.

        Raises:
            StoreError, RefusedConfig, Halted: as for `SimulatedFleet.open`.
        """
        stage = cls.open(store, config, prices, now)
        stage.followers = followers
        stage.tell(list(map(event_of, store.read())))
        return stage

    def say(self, commands: list[c.Command], by: str, at: dt.datetime) -> list[Any]:
        """Let time pass until ``at``, hand in what belongs together, and let the fleet come to rest; the answers."""
        answers = self.ask(Envelope(commands, [encode_command(command) for command in commands], by, None), at)
        return [decode_answer(answer) for answer in answers]

    def _deliver(self, post: Post) -> None:
        if isinstance(post.message, Recorded) and post.to == "everyone":
            self.tell(post.message.events)
            self.publish(post.message.records)
        super()._deliver(post)

    def tell(self, events: Sequence[e.Event]) -> None:
        """Let the followers hear of a batch."""
        for follow in self.followers:
            follow(events)
