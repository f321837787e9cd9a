"""Counts what the fleet recorded, for the screen and the summary. It decides nothing: every figure is from an event."""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from typing import Final

from tallystick.demo.news import Item, news, topped_up
from tallystick.demo.slots import Slots
from tallystick.events import catalog as e
from tallystick.events.evolve.account_read_model import AccountModels
from tallystick.events.state.accounts import OVERDRAFT, POOL, RESERVE, ZERO, Money, money, plus

NEWS_KEPT: Final = 200
LEVEL: Final = {name: rank for rank, name in enumerate(e.LEVELS)}


class Tally:
    """What happened so far. `note` may be called by any thread; all else is for the one that calls `catch_up`."""

    def __init__(self) -> None:
        self.standings = AccountModels()
        self.slots = Slots()
        self.events = 0
        self.kinds: Counter[str] = Counter()
        self.news: deque[Item] = deque(maxlen=NEWS_KEPT)
        self.worst: dict[str, int] = {}
        """The highest level that each agent was ever at."""
        self.warned_early: set[str] = set()
        self.refused: Counter[str] = Counter()
        self.reclaimed: Money = ZERO
        self.topped_up: Money = ZERO
        self.borrowed: Money = ZERO
        self.given_back: Money = ZERO
        self.restored: Money = ZERO
        self.unused: Money = ZERO
        self.covered: Money = ZERO
        """What agents used beyond their own, and others paid."""
        self.from_reserve: Money = ZERO
        self.into_debt: Money = ZERO
        self.reclaims = self.top_ups = self.borrows = self.covers = 0
        self.responses: list[str] = []
        self._inbox: deque[Sequence[e.Event]] = deque()
        self._plan: tuple[str, int, Money] = ("", 0, ZERO)
        """The newest plan of moves: its id, how many it gave more, and what."""

    def note(self, events: Sequence[e.Event]) -> None:
        """Take a recorded batch; to be looked at later."""
        self._inbox.append(events)

    def catch_up(self) -> None:
        """Count what was noted."""
        while self._inbox:
            events = self._inbox.popleft()
            self.standings.fold(events)
            self._count(events)

    def reached(self, level: str) -> int:
        """How many agents were ever at this level or above."""
        return sum(worst >= LEVEL[level] for worst in self.worst.values())

    def _count(self, events: Iterable[e.Event]) -> None:
        for event in events:
            self.events += 1
            self.kinds[type(event).__name__] += 1
            self.slots.keep(event)
            item = news(event)
            if item is not None:
                self.news.append(item)
            match event:
                case e.LevelChanged():
                    self.worst[event.agent] = max(self.worst.get(event.agent, 0), LEVEL[event.level])
                case e.ExhaustionWarned():
                    self.warned_early.add(event.agent)
                case e.RequestRefused():
                    self.refused[event.code] += 1
                case e.FleetResponseChanged():
                    self.responses.append(event.response)
                case e.BudgetReleased():
                    self.unused = plus(self.unused, money(event.unused.triple))
                case _:
                    self._count_money(event)

    def _count_money(self, event: e.Event) -> None:
        match event:
            case e.BudgetMoved() if event.strategy == "idle":
                self.reclaims += 1
                self.reclaimed = plus(self.reclaimed, money(event.amount.triple))
            case e.BudgetMoved():
                self.top_ups += 1
                self.topped_up = plus(self.topped_up, money(event.amount.triple))
                self._tell_together(event)
            case e.BudgetDrawn():
                self.borrows += 1
                self.borrowed = plus(self.borrowed, money(event.amount.triple))
            case e.UnusedReturned():
                self.given_back = plus(self.given_back, money(event.amount.triple))
            case e.UnusedRestored():
                self.restored = plus(self.restored, money(event.amount.triple))
            case e.ReserveDrawn():
                self.from_reserve = plus(self.from_reserve, money(event.amount.triple))
            case e.Covered() if event.target != POOL:
                self.covers += 1
                self.covered = plus(self.covered, money(event.amount.triple))
            case e.Covered() if event.source == RESERVE:
                self.from_reserve = plus(self.from_reserve, money(event.amount.triple))
            case e.Covered() if event.source == OVERDRAFT:
                self.into_debt = plus(self.into_debt, money(event.amount.triple))

    def _tell_together(self, event: e.BudgetMoved) -> None:
        """A plan gives a little to many: that is one line, which is written anew as long as it is the newest."""
        id, agents, amount = self._plan
        if id != event.id:
            agents, amount = 0, ZERO
        elif self.news and self.news[-1].position == event.position - 1:
            self.news.pop()
        self._plan = (event.id, agents + 1, plus(amount, money(event.amount.triple)))
        self.news.append(topped_up(event, *self._plan[1:]))
