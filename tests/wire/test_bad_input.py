"""Whatever comes in: a refusal that names the place and says what is allowed, and a state that is as it was."""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tallystick.actors.runtime.clock import ManualClock
from tallystick.actors.runtime.fleet import Fleet
from tallystick.config.loader import from_mapping
from tallystick.events.log import snapshot
from tallystick.events.log.codec import BODY_MAX, exchange_of, read_message
from tallystick.events.messages import MESSAGES_MAX, WIRE, Command
from tallystick.events.messages.proposals import INTERNAL
from tallystick.events.messages.replies import Refusal
from tests.support.core import START
from tests.support.few_prices import few_prices
from tests.support.messages import NO_JSON, Bad, as_command, as_json, bad, fields, good
from tests.support.running import QUIET

LEVELS = "critical, high, normal, low"
COMMANDS = pytest.mark.parametrize("command", WIRE, ids=lambda command: command.__name__)
_SAYS_WHAT_IS_ALLOWED = re.compile(
    r"allowed|[Ee]xpected|Invalid (enum )?value|missing required field|unknown field|Invalid decimal|out of range"
    r"|unknown key"
)


class CommandQueue:
    """A running fleet with an agent and a hold in it, and what its state was."""

    def __init__(self) -> None:
        self.fleet = Fleet.open("memory:", from_mapping(dict(QUIET)), few_prices(), clock=ManualClock(START))
        for message in (
            {"type": "AllocateBudget", "agent": "a-agent", "budget": {"tokens": 100}},
            {"type": "Reserve", "agent": "a-agent", "estimate": {"tokens": 5}, "id": "a-hold"},
        ):
            assert "ok" in self.fleet.ask(message)
        self._seen: bytes | None = None

    @property
    def state(self) -> bytes:
        """What the state is once the specialists have made of all messages what they do."""
        self.fleet.quiesce()
        return snapshot.dump(self.fleet._manager.ledger)

    def ask(self, message: Any) -> Any:
        """The reply to what may change the state, or need not be looked at afterwards."""
        self.is_unchanged()
        return self.fleet.ask(message)

    def refuses(self, message: Any, names: str = "") -> str:
        """The sentence of the refusal, which names the place; whether the state is as it was, `is_unchanged` says."""
        if self._seen is None:
            self._seen = self.state
        error = self._refusal(message)
        assert error["code"] in ("invalid_message", "invalid_amount"), f"{message!r:.300}: {error}"
        assert names in error["detail"], f"{message!r:.300}: {names!r} is not named in: {error['detail']}"
        assert _SAYS_WHAT_IS_ALLOWED.search(error["detail"]), f"{message!r:.300}: {error['detail']}"
        return str(error["detail"])

    def is_unchanged(self) -> None:
        """All that was refused since the last look has left the state as it was."""
        seen, self._seen = self._seen, None
        assert seen is None or self.state == seen, "a message that was refused changed the state"

    def _refusal(self, message: Any) -> Any:
        reply = self.fleet.ask(message)
        assert list(reply) == ["error"], f"{message!r:.300} was granted: {reply}"
        return reply["error"]

    def is_alive(self) -> None:
        assert self.fleet.halted is None
        assert "ok" in self.ask({"type": "ReportUsage", "agent": "a-agent", "usage": {"tokens": 1}})


@pytest.fixture(scope="module")
def opened() -> Iterator[CommandQueue]:
    opened = CommandQueue()
    yield opened
    opened.fleet.close()


@pytest.fixture
def queue(opened: CommandQueue) -> Iterator[CommandQueue]:
    yield opened
    opened.is_unchanged()


# --- one thing wrong, in every message -------------------------------------------------------------------------------


@COMMANDS
def test_the_good_messages_are_good(command: type[Command]) -> None:
    for optional in (False, True):
        assert not isinstance(read_message(good(command, optional), lambda: "new"), Refusal)


@COMMANDS
def test_every_mistake_in_json_is_refused_and_named(queue: CommandQueue, command: type[Command]) -> None:
    said = 0
    for case in bad(command):
        text = as_json(case.message)
        if text is not None:
            queue.refuses(text, case.names)
            queue.refuses(text.decode(), case.names)
            said += 1
    assert said >= 5
    queue.is_alive()


@COMMANDS
def test_every_mistake_in_a_dict_is_refused_and_named(queue: CommandQueue, command: type[Command]) -> None:
    for case in bad(command):
        queue.refuses(case.message, case.names)
    queue.is_alive()


@COMMANDS
def test_every_mistake_in_a_command_that_a_program_built_is_refused_and_named(
    queue: CommandQueue, command: type[Command]
) -> None:
    built = 0
    for case in _without_unknown_fields(command):
        message = as_command(case.message)
        if message is not None:
            queue.refuses(message, case.names)
            built += 1
    assert built >= 3
    queue.is_alive()


def _without_unknown_fields(command: type[Command]) -> Iterator[Bad]:
    return (case for case in bad(command) if case.message.keys() - {"type"} <= fields(command).keys())


@COMMANDS
@pytest.mark.parametrize("what", NO_JSON)
def test_what_json_cannot_say_is_refused_and_its_place_named(
    queue: CommandQueue, command: type[Command], what: str
) -> None:
    value = NO_JSON[what]
    for name, field in fields(command).items():
        if value is None and not field.required:
            continue
        message = {**good(command), name: value}
        if _is_read(message):
            continue  # a decimal where a decimal belongs
        queue.refuses(message, name)
        built = as_command(message)
        # A struct is an object, and an amount that may be asked for may be used.
        if built is not None and not (what == "an amount" and name in ("budget", "weights", "usage")):
            queue.refuses(built, name)
    queue.is_alive()


def _is_read(message: Mapping[str, Any]) -> bool:
    return not isinstance(read_message(message, lambda: "new"), Refusal)


# --- no message at all -----------------------------------------------------------------------------------------------

_GOOD = b'{"type":"ReportUsage","agent":"a-agent","usage":{"tokens":1}}'


@pytest.mark.parametrize("internal", INTERNAL, ids=lambda internal: internal.__name__)
def test_the_messages_of_the_specialists_are_refused_at_the_wire(queue: CommandQueue, internal: type[Command]) -> None:
    required: dict[str, Any] = {name: 1 for name, field in fields(internal).items() if field.required}
    for message in (
        {"type": internal.__name__, **required},
        {"type": internal.__name__},
        internal(**required),
        b'{"type":"%s"}' % internal.__name__.encode(),
    ):
        sentence = queue.refuses(message, internal.__name__)
        assert "the fleet's own actors" in sentence
        assert "ReportUsage" in sentence
    queue.is_alive()


@pytest.mark.parametrize("kind", ["NoSuchMessage", "reportusage", "", "x" * 10_000, 5, None, [], {}, True])
def test_an_unknown_type_is_refused_with_all_that_are_known(queue: CommandQueue, kind: object) -> None:
    sentence = queue.refuses({"type": kind, "agent": "a"}, "type")
    assert all(command.__name__ in sentence for command in WIRE)
    assert not any(command.__name__ in sentence for command in INTERNAL)


@pytest.mark.parametrize(
    ("message", "field", "allowed"),
    [
        (
            {"type": "SubmitTask", "task": "t", "agent_type": "qa", "product": "p", "priority": "hihg"},
            "priority",
            LEVELS,
        ),
        ({"type": "CompleteTask", "task": "t", "outcome": "done"}, "outcome", "completed, failed"),
        ({"type": "AllocateByPriority", "agents": {"a": "urgent"}, "total": {"tokens": 1}}, "agents", LEVELS),
    ],
)
def test_a_word_that_is_none_of_a_closed_set_is_refused_with_all_that_are(
    queue: CommandQueue, message: dict[str, Any], field: str, allowed: str
) -> None:
    detail = queue.refuses(message, field)
    assert f"allowed are {allowed}" in detail
    assert ("did you mean 'high'?" in detail) == (message.get("priority") == "hihg")


def test_a_message_without_a_type_is_refused_with_all_that_are_known(queue: CommandQueue) -> None:
    for message in ({}, {"agent": "a"}, b"{}", "{}", b'{"agent":"a"}', {5: 1}):
        assert "ReportUsage" in queue.refuses(message, "type")


@pytest.mark.parametrize(
    "message",
    [None, 5, 1.5, True, object(), (1, 2).__iter__(), bytearray(_GOOD), {"a"}],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_message_is_refused(queue: CommandQueue, message: object) -> None:
    queue.refuses(message)


@pytest.mark.parametrize(
    "text", [b"", b"  ", b"null", b"5", b'"text"', b"[]", b"[[]]", b"true", b"\x00", b"{", b'{"type":', b"nonsense"]
)
def test_text_that_is_no_json_object_is_refused(queue: CommandQueue, text: bytes) -> None:
    for message in (text, text.decode()):
        reply = queue.ask(message)
        assert reply["error"]["code"] == "invalid_message"


@pytest.mark.parametrize(
    "text",
    [
        _GOOD[:-1],
        _GOOD + b"x",
        _GOOD + _GOOD,
        b"\xef\xbb\xbf" + _GOOD,
        _GOOD.replace(b'"', b"'"),
        _GOOD.replace(b"}}", b",}}"),
        _GOOD.replace(b"1", b"01"),
        _GOOD.replace(b"1", b"0x1"),
        _GOOD.replace(b"1", b"NaN"),
        _GOOD.replace(b"1", b"Infinity"),
        _GOOD.replace(b"1", b"-"),
        _GOOD.replace(b"1", b"1" * 5_000),
        _GOOD.decode().encode("utf-16"),
        b"[" * 200_000,
        b'{"a":' * 200_000,
    ],
    ids=lambda text: repr(text)[:40],
)
def test_broken_json_is_refused_and_the_fleet_lives(queue: CommandQueue, text: bytes) -> None:
    before = queue.state
    reply = queue.ask(text)
    assert reply["error"]["code"] == "invalid_message"
    assert reply["error"]["detail"]
    assert queue.state == before
    queue.is_alive()


@pytest.mark.parametrize("place", [b"a-agent", b"agent", b"ReportUsage", b"tokens", b"type"], ids=repr)
@pytest.mark.parametrize("wrong", [b"\xff", b"\xc3(", b"\xed\xa0\x80", b"\xf5\x80\x80\x80"], ids=repr)
def test_invalid_utf8_is_refused_and_the_place_shown(queue: CommandQueue, place: bytes, wrong: bytes) -> None:
    sentence = queue.refuses(_GOOD.replace(place, place + wrong, 1))
    assert place.decode() in sentence
    assert "UTF-8" in sentence or place == b"type"  # which then is missing


@pytest.mark.parametrize("place", ["a-agent", "agent", "ReportUsage", "tokens"])
def test_half_a_character_is_refused(queue: CommandQueue, place: str) -> None:
    for half in ("\ud800", "\udfff"):
        assert "UTF-8" in queue.refuses(_GOOD.decode().replace(place, place + half, 1))
    reply = queue.ask(_GOOD.decode().replace(place, place + "\\ud800", 1))
    assert reply["error"]["code"] == "invalid_message"


def test_deep_nesting_is_refused_wherever_it_is(queue: CommandQueue) -> None:
    for levels in (50, 300, 900, 5_000, 100_000):
        deep = b'{"a":' * levels + b"1" + b"}" * levels
        lists = b"[" * levels + b"]" * levels
        for text in (deep, lists):
            for message in (
                b'{"type":"ReportUsage","agent":%s}' % text,
                b'{"type":"ReportUsage","agent":"a","usage":%s}' % text,
                b'{"type":"LoadConfig","config":%s}' % text,
                b'{"type":"LoadConfig","config":{"products":%s}}' % text,
                b'{"type":"AllocateEqual","agents":%s,"total":{"tokens":1}}' % text,
                text,
            ):
                before = queue.state
                assert queue.ask(message)["error"]["code"] == "invalid_message"
                assert queue.state == before
    queue.is_alive()


def test_a_dict_that_holds_itself_is_refused(queue: CommandQueue) -> None:
    config: dict[str, Any] = {}
    config["products"] = config
    queue.refuses({"type": "LoadConfig", "config": config})
    queue.is_alive()


def test_a_condition_that_cannot_be_meant_is_refused_with_its_place(queue: CommandQueue) -> None:
    config = {"circuit_breaker": {"trip_conditions": ["cost_daily_usd > daily_limits.max_cost"]}}
    place = (
        "config: circuit_breaker.trip_conditions[0]: line 1, column 18 of the condition: found 'daily_limits.max_cost'"
    )
    queue.refuses({"type": "LoadConfig", "config": config}, place)
    for text in ("(" * 4096, "not " * 1024, "a" * 100_000, "'", "\x00"):
        queue.refuses({"type": "LoadConfig", "config": {"circuit_breaker": {"trip_conditions": [text]}}})
    queue.is_alive()


def test_huge_arrays_and_bodies_are_refused(queue: CommandQueue) -> None:
    agents = [f"x{n}" for n in range(100_000)]
    queue.refuses({"type": "AllocateEqual", "agents": agents, "total": {"tokens": 1}}, "agents")
    weights = dict.fromkeys(agents, 1)
    queue.refuses({"type": "AllocateProportional", "weights": weights, "total": {"tokens": 1}}, "weights")
    priorities = dict.fromkeys(agents, "high")
    queue.refuses({"type": "AllocateByPriority", "agents": priorities, "total": {"tokens": 1}}, "agents")
    queue.refuses(b'{"type":"ReportUsage","agent":"a' + b" " * BODY_MAX + b'"}', "bytes")


def test_of_a_key_that_is_there_twice_the_last_counts_for_the_answer_and_for_the_log(queue: CommandQueue) -> None:
    """JSON leaves it open and the parser cannot tell; what matters is that the fleet and its log agree."""
    text = b'{"type":"ReportUsage","agent":"a-agent","usage":{"tokens":7},"usage":{"tokens":2},"id":"twice"}'
    before = queue.fleet._manager.ledger.spent[0]
    assert "ok" in queue.ask(text)
    assert queue.fleet._manager.ledger.spent[0] == before + 2
    record = queue.fleet._store.record(queue.fleet._manager.ledger.ids["twice"])
    assert record is not None
    assert b'"usage":{"tokens":2}' in bytes(exchange_of(record.data).command)
    assert b'"tokens":7' not in record.data


def test_a_number_that_compares_with_nothing_under_an_id_that_was_used_is_a_conflict(queue: CommandQueue) -> None:
    message = {"type": "ReportUsage", "agent": "a-agent", "usage": {"cost_usd": "1"}, "id": "one-dollar"}
    assert "ok" in queue.ask(message)
    for text in ("NaN", "sNaN", "-sNaN12", "Infinity"):
        reply = queue.ask({**message, "usage": {"cost_usd": text}})
        assert reply["error"]["code"] == "idempotency_conflict"
    queue.is_alive()


# --- many at once -----------------------------------------------------------------------------------------------------


def test_malformed_messages_in_a_list_are_answered_in_their_place_and_the_others_are_done(queue: CommandQueue) -> None:
    mistakes = [case.message for command in WIRE for case in itertools.islice(bad(command), 4)]
    ids = itertools.count()
    messages = []
    for mistake in mistakes:
        fine = {"type": "ReportUsage", "agent": "a-agent", "usage": {"tokens": 0}, "id": f"fine-{next(ids)}"}
        messages += [mistake, fine]
    replies = queue.ask(messages)
    assert ["error" in reply for reply in replies] == [True, False] * len(mistakes)


def test_a_list_of_more_than_a_thousand_is_refused_whole(queue: CommandQueue) -> None:
    before = queue.state
    messages = [{"type": "ReportUsage", "agent": "a-agent", "usage": {"tokens": 1}}] * (MESSAGES_MAX + 1)
    replies = queue.ask(messages)
    assert len(replies) == MESSAGES_MAX + 1
    assert {reply["error"]["code"] for reply in replies} == {"invalid_message"}
    assert "1000" in replies[0]["error"]["detail"]
    assert queue.state == before


def test_an_empty_list_has_no_answers(queue: CommandQueue) -> None:
    assert queue.ask([]) == []


@pytest.mark.parametrize(
    "by", ["", "x" * 129, "a\ud800", "a\nb", 5, None, object()], ids=lambda value: type(value).__name__
)
def test_a_principal_that_is_no_name_is_a_programs_error_and_the_fleet_lives(queue: CommandQueue, by: Any) -> None:
    before = queue.state
    with pytest.raises(ValueError, match="by: "):
        queue.fleet.ask(_GOOD, by=by)
    assert queue.state == before
    queue.is_alive()
