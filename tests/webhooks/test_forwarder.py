"""Events reach a receiver in order and at least once, whatever it answers; and the writer never waits for it."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from tallystick.events.log.store import StoreError
from tallystick.webhooks.forwarder import REFUSALS, SUSPECTS_MAX, WAIT_MAX
from tallystick.webhooks.progress import Progress
from tallystick.webhooks.sending import OF_THE_RECEIVER
from tests.support.programs import SECONDS, until
from tests.support.webhooks import Answering, Request, Sending, sending


@pytest.fixture
def hook() -> Iterator[Sending]:
    with sending() as made:
        yield made


def test_what_was_recorded_and_what_is_recorded_later_arrives_in_order_and_signed(hook: Sending) -> None:
    hook.begin()
    hook.receiver.until_accepted(hook.all)
    hook.record(5)
    hook.receiver.until_accepted(hook.all)
    first = hook.receiver.got[0]
    assert first.headers["content-type"] == "application/cloudevents-batch+json; charset=utf-8"
    assert first.headers["webhook-id"].partition("_")[0] == first.events[0]["id"]


def test_with_a_batch_of_one_each_event_is_sent_by_itself(hook: Sending) -> None:
    hook.begin(batch_max=1)
    hook.receiver.until_accepted(hook.all)
    assert {request.headers["content-type"] for request in hook.receiver.got} == {
        "application/cloudevents+json; charset=utf-8"
    }
    assert [request.headers["webhook-id"] for request in hook.receiver.got] == [
        request.events[0]["id"] for request in hook.receiver.got
    ]


def test_only_the_kinds_that_are_chosen_are_sent_and_the_position_goes_on(hook: Sending) -> None:
    positions = hook.record(3)
    sender = hook.begin(kinds=("agent-throttled",))
    hook.receiver.until_accepted(positions)
    hook.fleet.ask({"type": "Stop", "agent": "a", "reason": "r"})
    until(lambda: not sender.is_behind)
    assert hook.receiver.accepted == positions


# --- a receiver that is away ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 301, *sorted(OF_THE_RECEIVER)])
def test_while_a_receiver_is_away_nothing_is_passed_by(hook: Sending, status: int) -> None:
    hook.receiver.answer = lambda request: status if len(hook.receiver.got) <= 2 else 204
    sender = hook.begin()
    hook.receiver.until_accepted(hook.all)
    until(lambda: sender.progress.problem is None)
    assert (sender.failures, sender.progress.passed_over) == (2, 0)


def test_what_is_sent_again_is_the_same_message_after_longer_and_longer_waits(hook: Sending) -> None:
    hook.receiver.answer = lambda request: 503 if len(hook.receiver.got) <= 12 else 204
    hook.begin()
    hook.receiver.until_accepted(hook.all)
    waits = [wait for wait in hook.waits if wait >= 1]
    assert all(2**n <= wait <= 2**n + 1 for n, wait in enumerate(waits[:8]))
    assert waits[11] == WAIT_MAX
    assert len({(request.headers["webhook-id"], request.body) for request in hook.receiver.got[:13]}) == 1


def test_a_redirect_leads_nowhere(hook: Sending) -> None:
    other = Answering()
    hook.receiver.answer = lambda request: (307, {"location": other.url})
    sender = hook.begin()
    until(lambda: sender.progress.problem is not None)
    assert sender.progress.problem == "it answered 307: redirects are not followed"
    assert other.got == []
    other.close()


def test_a_receiver_that_says_when_is_tried_then(hook: Sending) -> None:
    answers = iter([(429, {"retry-after": "120"}), (503, {"retry-after": "9" * 8}), (503, {"retry-after": "soon"})])
    hook.receiver.answer = lambda request: next(answers, 204)
    hook.begin()
    hook.receiver.until_accepted(hook.all)
    assert hook.waits[:2] == [120.0, 3_600.0]
    assert hook.waits[2] < 10


def test_a_receiver_that_hangs_keeps_the_writer_from_nothing(hook: Sending) -> None:
    answering = threading.Event()
    hook.receiver.answer = lambda request: 204 if answering.wait(20) else 500
    hook.begin()
    until(lambda: len(hook.receiver.got) == 1)
    hook.record(50)
    assert len(hook.receiver.got) == 1
    answering.set()
    hook.receiver.until_accepted(hook.all)


def test_an_address_of_a_private_network_gets_nothing_unless_it_is_listed(hook: Sending) -> None:
    sender = hook.begin(url=hook.receiver.url.replace("127.0.0.1", "127.0.0.2"))
    until(lambda: sender.progress.problem is not None)
    assert "notification_networks" in str(sender.progress.problem)
    assert hook.receiver.got == []


def test_a_missing_secret_says_so_and_sends_nothing(hook: Sending) -> None:
    sender = hook.begin(secret="file:/nowhere")  # noqa: S106 - a place, and no secret
    until(lambda: sender.progress.problem is not None)
    assert sender.progress.problem == "the file /nowhere cannot be read: No such file or directory"
    assert hook.receiver.got == []


def test_what_a_variable_of_the_address_stands_for_is_in_no_log(
    hook: Sending, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TALLYSTICK_TEST_PATH", "a-secret-of-the-address")
    with caplog.at_level(logging.DEBUG):
        hook.begin(url=hook.receiver.url + "/${TALLYSTICK_TEST_PATH}")
        hook.receiver.until_accepted(hook.all)
        hook.receiver.close()
        hook.record(1)
        until(lambda: "ConnectError" in caplog.text)
    assert "a-secret-of-the-address" not in caplog.text


# --- a receiver that refuses ------------------------------------------------------------------------------------------


def refusing(*positions: int) -> Any:
    return lambda request: 422 if set(positions) & set(request.positions) else 204


def test_one_event_that_is_refused_is_passed_over_once_one_behind_it_is_accepted(hook: Sending) -> None:
    bad, *_ = hook.record(10)
    hook.receiver.answer = refusing(bad)
    sender = hook.begin()
    hook.receiver.until_accepted([one for one in hook.all if one != bad])
    until(lambda: sender.progress.problem is None)
    assert (sender.progress.passed_over, sender.progress.last_passed) == (1, bad)
    assert [request.positions for request in hook.receiver.got].count([bad]) == REFUSALS + 2


def test_the_last_event_is_not_passed_over_before_there_is_another(hook: Sending) -> None:
    *_, bad = hook.record(3)
    hook.receiver.answer = refusing(bad)
    sender = hook.begin()
    until(lambda: len([one for one in hook.receiver.got if one.positions == [bad]]) == REFUSALS)
    assert (sender.progress.position, sender.progress.passed_over, sender.is_behind) == (bad - 1, 0, True)
    hook.record(1)
    until(lambda: sender.progress.passed_over == 1)


@pytest.mark.parametrize("refused", [1, 5, 8, 9, 10, 13])
def test_a_receiver_that_refuses_for_a_while_and_then_accepts_misses_nothing(hook: Sending, refused: int) -> None:
    hook.receiver.answer = lambda request: 400 if len(hook.receiver.got) <= refused else 204
    sender = hook.begin(batch_max=1)
    hook.record(10)
    until(lambda: sender.progress.position == hook.fleet.position)
    # Where it begins to accept between two requests for the same event, that comes behind the next one.
    assert set(hook.receiver.accepted) == set(hook.all)
    assert sender.progress.passed_over == 0


def test_of_several_in_a_row_that_are_refused_each_is_passed_over(hook: Sending) -> None:
    first, second, third, *_ = hook.record(6)
    hook.receiver.answer = refusing(first, second, third)
    sender = hook.begin()
    hook.receiver.until_accepted([one for one in hook.all if one not in (first, second, third)])
    until(lambda: sender.progress.passed_over == 3)


def test_a_receiver_that_refuses_everything_loses_nothing(hook: Sending) -> None:
    hook.record(2 * SUSPECTS_MAX)
    is_on_its_way, accepts = threading.Event(), threading.Event()

    def answer(_: Request) -> int:
        if hook.waits.count(WAIT_MAX) < 2:
            return 400
        is_on_its_way.set()
        return 204 if accepts.wait(SECONDS) else 400

    hook.receiver.answer = answer
    sender = hook.begin()
    assert is_on_its_way.wait(SECONDS)
    assert f"{SUSPECTS_MAX} events in a row were refused, from 1 on" in str(sender.progress.problem)
    assert (sender.progress.position, sender.progress.passed_over) == (0, 0)
    accepts.set()
    until(lambda: sender.progress.position == hook.fleet.position)
    assert hook.receiver.accepted == hook.all
    assert sender.progress.passed_over == 0


# --- where it goes on -------------------------------------------------------------------------------------------------


def test_the_next_process_goes_on_behind_what_was_accepted(hook: Sending) -> None:
    sender = hook.begin()
    hook.receiver.until_accepted(hook.all)
    sender.end()
    sender.join()
    hook.record(3)
    hook.begin()
    hook.receiver.until_accepted(hook.all)


def test_what_was_accepted_and_not_kept_is_sent_again_with_the_same_ids(hook: Sending) -> None:
    sender = hook.begin()
    hook.receiver.until_accepted(hook.all)
    sender.end()
    sender.join()
    hook.kept.keep("audit", Progress())
    hook.begin()
    hook.receiver.until_accepted(hook.all * 2)
    first, second = ({event["id"] for one in part for event in one.events} for part in halves(hook.receiver.got))
    assert first == second


def halves(requests: list[Request]) -> tuple[list[Request], list[Request]]:
    middle = len(requests) // 2
    return requests[:middle], requests[middle:]


@pytest.mark.parametrize("kept", [Progress(2, "0123456789ab"), Progress(9_999, "0123456789ab")])
def test_a_position_of_another_log_is_not_gone_on_from(hook: Sending, kept: Progress) -> None:
    hook.kept.keep("audit", kept)
    hook.begin()
    hook.receiver.until_accepted(hook.all)


def test_a_webhook_of_which_nothing_is_kept_begins_with_the_event_that_brought_it(hook: Sending) -> None:
    hook.record(5)
    before = hook.fleet.position
    entry = {"audit": {"url": hook.receiver.url, "secret": "file:/run/secret"}}
    hook.fleet.put_in_force({"webhooks": entry})
    hook.begin()
    hook.receiver.until_accepted(list(range(before + 1, hook.fleet.position + 1)))


def test_where_a_position_cannot_be_kept_events_are_sent_all_the_same(
    hook: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(hook.kept, "keep", fail)
    hook.begin()
    hook.receiver.until_accepted(hook.all)


def test_a_store_that_cannot_be_read_for_a_while_delays_and_loses_nothing(
    hook: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, failures = hook.fleet.records.page, iter(range(3))

    def failing(*asked: int) -> Any:
        if next(failures, None) is not None:
            raise StoreError("the database is away")
        return page(*asked)

    monkeypatch.setattr(hook.fleet.records, "page", failing)
    sender = hook.begin()
    hook.receiver.until_accepted(hook.all)
    until(lambda: sender.progress.problem is None)


def test_a_fleet_that_another_process_has_taken_sends_nothing_more(hook: Sending) -> None:
    hook.receiver.answer = lambda request: 503
    sender = hook.begin()
    until(lambda: len(hook.receiver.got) >= 1)
    hook.has_ended = True
    assert sender.join(20)
    count = len(hook.receiver.got)
    hook.record(3)
    assert len(hook.receiver.got) == count
