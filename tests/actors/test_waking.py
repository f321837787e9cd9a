"""Threads wake one another, a few at a time, and nobody who has an answer is left asleep."""

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.actors.errors import Unanswered
from tallystick.actors.runtime import pending as pending_module
from tallystick.actors.runtime import waking
from tallystick.actors.runtime.messages import Envelope
from tallystick.actors.runtime.pending import Pending, answer_all
from tallystick.actors.runtime.waking import Sleeper
from tests.support.interleaved import Interrupted, TurnLock, Turns

ANSWER = b'{"ok":{}}'
FOREVER = float("inf")
SECONDS = 20.0
WATCHED = (Pending._wait, Pending.set, Sleeper.go, Sleeper.wake, waking.wake, waking.wake_next, waking.wake_some)
PATIENCE = st.just(FOREVER) | st.integers(0, 60).map(float) | st.integers(0, 60).map(Interrupted)


def asked(number: int) -> list[Envelope]:
    return [Envelope([], [], "someone", Pending()) for _ in range(number)]


ASKS = st.lists(st.tuples(st.integers(0, 2), PATIENCE), min_size=1, max_size=5)
GIVES_UP = st.integers(0, 30).map(lambda turns: [(0, float(turns)), (1, FOREVER)])
"""The first one's time ends about when the answers come, and the second one waits for its turn behind it."""


@given(ASKS | GIVES_UP, st.sampled_from([0, 0, 1, 2]), st.integers(0, 2**32))
def test_whatever_the_order_all_who_have_an_answer_wake_up(
    asks: list[tuple[int, float]], first: int, order: int
) -> None:
    """Some wait for one of three messages, of which the ``first`` are answered in a batch before the others."""
    for number in range(20):
        outcomes = played(asks, first, Random(order + number))
        assert len(outcomes) == len(asks)
        assert all(outcome == {"ok": {}} for patience, outcome in outcomes if patience == FOREVER)


@given(ASKS | GIVES_UP, st.sampled_from([0, 0, 1, 2]), st.integers(0, 2**32))
def test_an_interrupt_between_any_two_steps_keeps_no_other_from_its_answer(
    asks: list[tuple[int, float]], first: int, order: int
) -> None:
    """What an interrupted thread did not do, the watch does later: everyone that sleeps is due to be woken."""
    for number in range(20):
        outcomes = played(asks, first, Random(order + number), waking.wake_next, (Sleeper.wake, waking.wake_next))
        assert len(outcomes) == len(asks)
        interrupted = [outcome for _, outcome in outcomes if isinstance(outcome, KeyboardInterrupt)]
        assert all(outcome in ({"ok": {}}, *interrupted) for patience, outcome in outcomes if patience == FOREVER)


def played(
    asks: list[tuple[int, float]],
    first: int,
    order: Random,
    all_wait: Callable[[], None] | None = None,
    interrupted: Sequence[Callable[..., object]] = (),
) -> list[tuple[float, Any]]:
    """How long each was to wait, and what came of it."""
    envelopes, outcomes = asked(3), list[tuple[float, Any]]()
    turns = Turns(WATCHED, order, all_wait or _none_is_due, interrupted)

    def wait(message: int, patience: float) -> None:
        try:
            outcomes.append((patience, _result(envelopes[message], patience)))
        except (Unanswered, KeyboardInterrupt) as error:
            outcomes.append((patience, error))

    def manage() -> None:
        for batch in (envelopes[:first], envelopes[first:]):
            for envelope in batch:
                envelope.answers = [ANSWER]
            with suppress(KeyboardInterrupt):
                answer_all(batch)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(waking, "_DUE", deque())
        patched.setattr(waking, "AT_ONCE", 1)
        patched.setattr(waking, "Lock", lambda: TurnLock(turns))
        patched.setattr(pending_module, "_SLEEPERS", TurnLock(turns))
        turns.run([*(partial(wait, *ask) for ask in asks), manage])
        (all_wait or _none_is_due)()
    return outcomes


def _none_is_due() -> None:
    assert not waking._DUE, "one is due to be woken, and all sleep"


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(waking, "AT_ONCE", 1)
    yield
    _none_is_due()


@pytest.mark.usefixtures("one_at_a_time")
def test_one_that_is_woken_wakes_all_the_others() -> None:
    envelopes = asked(200)
    with ThreadPoolExecutor(200) as threads:
        waiting = [threads.submit(_result, envelope) for envelope in envelopes]
        for envelope in envelopes:
            envelope.answers = [ANSWER]
        answer_all(envelopes)
        assert [one.result(SECONDS) for one in waiting] == [{"ok": {}}] * 200


@pytest.mark.usefixtures("one_at_a_time")
def test_callers_that_give_up_all_the_time_keep_no_other_from_its_answer() -> None:
    """Real threads, of which half wait too short, in rounds: their ends fall together with the answers."""
    counts = [0, 0]
    counting = threading.Lock()
    starting = threading.Barrier(33)

    def caller(number: int) -> None:
        for envelopes in rounds:
            starting.wait(SECONDS)
            try:
                _result(envelopes[number], SECONDS if number % 2 else 0.0)
                got = 1
            except Unanswered:
                got = 0
            with counting:
                counts[got] += 1
            starting.wait(SECONDS)

    rounds = [asked(32) for _ in range(100)]
    with ThreadPoolExecutor(32) as threads:
        ended = [threads.submit(caller, number) for number in range(32)]
        for envelopes in rounds:
            starting.wait(SECONDS)
            for envelope in envelopes:
                envelope.answers = [ANSWER]
            answer_all(envelopes)
            starting.wait(SECONDS)
        for one in ended:
            one.result(SECONDS)
    assert sum(counts) == 3_200
    assert counts[1] >= 1_600


def test_one_that_looks_again_and_again_leaves_nothing_behind() -> None:
    pending = Pending()
    for _ in range(3):
        with pytest.raises(Unanswered):
            pending.result(0)
    assert not pending._sleepers


def _result(envelope: Envelope, seconds: float = SECONDS) -> Any:
    assert isinstance(envelope.reply, Pending)
    return envelope.reply.result(seconds)
