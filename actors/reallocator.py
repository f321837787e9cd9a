"""The reallocator: moves idle budget to where it is needed, every few seconds and when it is asked."""

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final

from tallystick.actors.policies.rebalancing.plan import Fleet, plan
from tallystick.actors.policies.rebalancing.survey import Survey
from tallystick.actors.runtime.messages import (
    MANAGER,
    REALLOCATOR,
    TRACKER,
    Post,
    Proposal,
    Question,
    Recorded,
    Surveyed,
    SurveyWanted,
    Tick,
)
from tallystick.config.loader import restore
from tallystick.config.settings import Config
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.catalog.event import EPOCH
from tallystick.events.messages import proposals as p
from tallystick.events.state.calendar import NEVER, later
from tallystick.events.state.ledger import Ledger

MOVES_AT_ONCE: Final = 100
"""So many moves are decided in one go, some milliseconds: a plan of more is applied in parts."""
_LATE = dt.timedelta(seconds=1)
"""Later than this no timer fires where everything is in order."""
_LEAST = dt.timedelta(microseconds=1)


class Reallocator:
    """Asks the tracker for a survey of the agents, and proposes a plan of moves; each part of it is applied whole."""

    name = REALLOCATOR
    follows: frozenset[type[e.Event]] = frozenset({e.ConfigLoaded, e.BudgetAllocated, e.BudgetReleased})

    def begin(self, ledger: Ledger) -> None:
        self._config: Config = ledger.rules.config
        self._open = len(ledger.accounts)
        # A tick that the one before it did not take at this very moment is taken now.
        self._next = self._after(ledger.now - _LEAST)
        self._waits = False
        """A survey is under way that a moment for a plan has asked for."""

    def handle(self, message: Any, now: dt.datetime) -> Sequence[Post]:
        match message:
            case Recorded():
                self._follow(message, now)
                return []
            case Tick():
                if now < self._next:
                    return []
                is_late = now - self._next > _LATE
                self._next = self._after(now)
                if is_late or self._waits:
                    # The fleet was not there at the moment of a plan, or has not seen through the one before: it waits
                    # for the next one.
                    return []
                self._waits = True
                return [Post(TRACKER, SurveyWanted(None))]
            case Question():
                return [Post(TRACKER, SurveyWanted(message))]
            case Surveyed():
                self._waits = self._waits and message.question is not None
                return self._propose(message.survey, message.question, now)
        raise TypeError(f"the reallocator does not know {type(message).__name__}")

    def due_at(self) -> dt.datetime | None:
        is_due = self._open and self._config.reallocation.enabled and self._next != NEVER
        return self._next if is_due else None

    def _follow(self, recorded: Recorded, now: dt.datetime) -> None:
        was_open = self._open
        for event in recorded.events:
            match event:
                case e.BudgetAllocated():
                    self._open += 1
                case e.BudgetReleased():
                    self._open -= 1
                case e.ConfigLoaded():
                    self._config = restore(event.config)
        if not was_open:
            self._next = self._after(now)

    def _after(self, now: dt.datetime) -> dt.datetime:
        """The next multiple of the interval: the same moments whenever the fleet was started."""
        interval = dt.timedelta(seconds=float(self._config.reallocation.interval_seconds))
        return later(EPOCH, ((now - EPOCH) // interval + 1) * interval)

    def _propose(self, survey: Survey, question: Question | None, now: dt.datetime) -> list[Post]:
        moves = []
        figures = survey.figures
        if self._config.reallocation.enabled:
            fleet = Fleet(figures.spendable, figures.minimum_share, figures.in_crisis)
            moves = plan(survey.idle, survey.hungry, fleet, self._config)
        if not moves and question is None:
            return []
        # A plan that was asked for is answered as one.
        part = max(1, len(moves)) if question is not None else MOVES_AT_ONCE
        commands = [
            p.ApplyMoves(
                moves=moves[start : start + part],
                asked=question is not None,
                id=c.internal_id(f"rebalance-{now.isoformat()}" + (f"-{start}" if start else "")),
            )
            for start in range(0, max(1, len(moves)), part)
        ]
        return [
            *self._acted_on(moves, survey, now),
            *(Post(MANAGER, Proposal(command, REALLOCATOR, question)) for command in commands),
        ]

    @staticmethod
    def _acted_on(moves: Sequence[p.Move], survey: Survey, now: dt.datetime) -> list[Post]:
        """The forecasts that the plan acts on, to be recorded."""
        posts = []
        for number, move in enumerate(moves):
            exhaustions = survey.exhaustions.get(move.target, ())
            if exhaustions:
                command = p.RecordForecast(
                    agent=move.target,
                    why="demand",
                    predictions=[exhaustion.prediction() for exhaustion in exhaustions],
                    opened_at=move.opened_at,
                    id=c.internal_id(f"demand-{now.isoformat()}-{number}"),
                )
                posts.append(Post(MANAGER, Proposal(command, REALLOCATOR)))
        return posts
