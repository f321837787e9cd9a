"""One fleet of several, on one thread: its manager over its own log, which can fail between any two steps."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tallystick.actors.manager import Manager
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.opening import accept, to_put_in_force
from tallystick.config.loader import from_mapping
from tallystick.config.price_list import PriceList, Provider, Published
from tallystick.config.published import published_prices
from tallystick.config.settings import Config
from tallystick.delegation.identity import identity
from tallystick.events import messages as c
from tallystick.events.catalog import Event
from tallystick.events.log.codec import GENESIS, decode_event, encode_command, read_message
from tallystick.events.log.restoring import replay
from tallystick.events.log.store_memory import MemoryStore
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tests.support.core import START

_ANTHROPIC = published_prices(START.date()).providers["anthropic"]
PRICES = PriceList(
    {}, Published("a few", {"anthropic": Provider(_ANTHROPIC.names, dict(list(_ANTHROPIC.models.items())[:1]))})
)


class Node:
    """A fleet. What is committed is in ``store``; the rest is lost when it fails."""

    def __init__(self, name: str, config: Mapping[str, Any], now: dt.datetime) -> None:
        self.name = name
        self.store = MemoryStore()
        self._config: Config | None = from_mapping(config)
        self._ids = 0
        self._lives = 0
        self.open(now)

    def open(self, now: dt.datetime) -> None:
        """Begin from the log, as after a failure."""
        self._lives += 1
        ledger = Ledger()
        digest = replay(ledger, GENESIS, self.store.rows())
        self._manager = Manager(ledger, self.store, digest)
        for command in to_put_in_force(ledger, self._config, PRICES if not ledger.configured else None, now):
            (reply,) = self._decided([command], [encode_command(command)], now)
            accept(reply)
        self._config = None

    @property
    def ledger(self) -> Ledger:
        return self._manager.ledger

    @property
    def fleet(self) -> str:
        """Its id."""
        return identity(self.store)

    def events(self) -> list[Event]:
        """All that it has recorded."""
        return [decode_event(one.data, one.name) for one in self.store.read()]

    def record(self, command: c.Command, now: dt.datetime) -> dict[str, Any]:
        """Decide and commit one command of the fleet's own."""
        return self._decided([command], [encode_command(command)], now)[0]

    def ask(
        self, messages: Sequence[Mapping[str, Any]], now: dt.datetime, *, fails: bool = False
    ) -> list[dict[str, Any]]:
        """Decide and commit messages, as one array. ``fails``: it fails before the commit."""
        commands, asked = [], []
        for message in messages:
            read = read_message(dict(message), self._new_id)
            assert not isinstance(read, Refusal), read
            commands.append(read[0])
            asked.append(read[1])
        return self._decided(commands, asked, now, fails=fails)

    def tell(self, message: Mapping[str, Any], now: dt.datetime) -> dict[str, Any]:
        """One message; its answer."""
        return self.ask([message], now)[0]

    def _new_id(self) -> str:
        self._ids += 1
        return f"m-{self._lives}-{self._ids}"

    def _decided(
        self, commands: list[c.Command], asked: list[bytes], now: dt.datetime, *, fails: bool = False
    ) -> list[dict[str, Any]]:
        envelope = Envelope(commands, asked, "local", None)
        self._manager.take(envelope, now)
        if fails:
            return []
        self._manager.commit(now)
        return [msgspec.json.decode(answer) for answer in envelope.answers]
