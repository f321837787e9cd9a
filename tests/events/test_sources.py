"""Sources: what is reported or settled under one id of the provider is recorded once, and its largest figure counts."""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from tallystick.config.amounts import Usage
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tests.support.core import allocate, budget, fleet, hold, settle, use
from tests.support.corrections import correction, records
from tests.support.sources import SourcedCore, said, settled

HOUR = dt.timedelta(hours=1)


def opened(**config: object) -> SourcedCore:
    return SourcedCore(fleet(100_000, "100", **config), allocate("a", 10_000, "10"), allocate("b", 10_000, "10"))


# --- once -------------------------------------------------------------------------------------------------------------


def test_a_source_that_is_reported_again_is_recorded_once() -> None:
    core = opened().given(said("a", "msg-1", 600))
    answer = core.when(said("a", "msg-1", 600))
    core.then_events()
    assert (answer.recorded, answer.repeats, answer.counted.tokens) == (False, records(core)[0].position, 600)
    assert core.status("a").consumed.tokens == 600


def test_a_source_that_another_agent_reports_is_recorded_once_for_the_first() -> None:
    core = opened().given(said("a", "msg-1", 600))
    assert core.when(said("b", "msg-1", 600)).agent == "b"
    core.then_events()
    assert (core.status("a").consumed.tokens, core.status("b").consumed.tokens) == (600, 0)


def test_the_answer_to_a_repeat_says_what_its_sender_may_do() -> None:
    core = opened().given(said("a", "msg-1", 600), c.Stop(agent="b", reason="enough"))
    answer = core.when(said("b", "msg-1", 600))
    assert (answer.action, answer.decided_by) == ("stop", "stop")


def test_reports_without_a_source_are_recorded_each() -> None:
    core = opened().given(said("a", None, 600), said("a", None, 600))
    assert core.status("a").consumed.tokens == 1_200
    assert all(record.source_id is None and record.counts_on is None for record in records(core))


def test_a_source_is_the_same_however_it_is_misspelled() -> None:
    core = opened().given(said("a", "msg-1", 600))
    assert not core.when(said("a", " msg-1\u200b", 600)).recorded


def test_a_repeat_is_no_sign_of_life_and_says_nothing_of_the_pace() -> None:
    core = opened().given(said("a", "msg-1", 600))
    before = core.account("a").activity_at
    core.wait(60).when(said("a", "msg-1", 600))
    assert core.account("a").activity_at == before


def test_a_malformed_repeat_is_refused_as_any_other() -> None:
    core = opened().given(said("a", "msg-1", 600))
    core.when(c.ReportUsage(agent="a", source_id="msg-1", usage=Usage(tokens=-1)))
    core.then_refused("invalid_amount")
    core.when(c.ReportUsage(agent="a", task="t", source_id="msg-1", usage=Usage(tokens=1)))
    core.then_refused("invalid_message")


def test_a_source_is_known_when_its_account_is_gone_and_another_is_open() -> None:
    core = opened().given(said("a", "msg-1", 600), c.ReleaseBudget(agent="a"))
    core.now += 48 * HOUR
    core.given(allocate("a", 5_000, "5"))
    assert not core.when(said("a", "msg-1", 600)).recorded
    assert core.status("a").consumed.tokens == 0


# --- larger -----------------------------------------------------------------------------------------------------------


def test_a_larger_figure_replaces_the_smaller_one_by_a_correction() -> None:
    core = opened().given(said("a", "msg-1", 600))
    answer = core.when(said("b", "msg-1", 900))
    event = core.only(e.UsageCorrected)
    assert (event.repeats, event.source_id, event.tokens, event.agent) == (True, "msg-1", 300, "a")
    assert (answer.recorded, answer.repeats, answer.counted.tokens, answer.agent) == (True, 5, 900, "b")
    assert core.status("a").consumed.tokens == 900
    assert core.status("b").consumed.tokens == 0


def test_each_dimension_keeps_the_largest_that_was_said_of_it() -> None:
    core = opened().given(said("a", "msg-1", 600, "0.10"), said("a", "msg-1", 400, "0.30", seconds=7))
    consumed = core.status("a").consumed
    assert (consumed.tokens, consumed.cost_usd, consumed.time_seconds) == (600, "0.30", 7)


def test_tokens_are_replaced_with_their_kinds_and_their_model() -> None:
    core = opened().given(
        c.ReportUsage(agent="a", source_id="m", model="haiku", input_tokens=100, output_tokens=1),
        c.ReportUsage(agent="a", source_id="m", model="opus", input_tokens=100, output_tokens=50),
    )
    counts = core.only(e.UsageCorrected).counts
    assert (counts.input_tokens, counts.output_tokens, counts.model) == (100, 50, "opus")
    assert core.ledger.day.mix[:2] == [100, 50]


def test_a_figure_that_is_priced_takes_the_place_of_one_without_a_price_and_names_its_model() -> None:
    core = opened().given(said("a", "m", 150), said("a", "m", 150, "0.20", model="haiku"))
    event = core.only(e.UsageCorrected)
    assert (event.counts.tokens, event.counts.model, event.model_after) == (150, "haiku", "haiku")
    assert event.cost_nanos > 0


def test_what_an_operator_corrected_is_not_undone_by_a_repeat() -> None:
    core = opened().given(said("a", "m", 600))
    core.given(correction(core, records(core)[0], 100))
    assert not core.when(said("a", "m", 600)).recorded
    assert core.status("a").consumed.tokens == 100
    core.given(said("a", "m", 700))
    assert core.status("a").consumed.tokens == 700


def test_what_an_operator_raised_is_not_lowered_by_a_larger_figure_below_it() -> None:
    core = opened().given(said("a", "m", 100))
    core.given(correction(core, records(core)[0], 900))
    assert not core.when(said("a", "m", 150)).recorded
    core.given(said("a", "m", 950))
    assert core.status("a").consumed.tokens == 950


def test_an_operator_corrects_what_a_source_has_corrected_before() -> None:
    core = opened().given(said("a", "m", 100), said("a", "m", 150))
    core.given(correction(core, records(core)[0], 30))
    assert core.only(e.UsageCorrected).counted.tokens == 150
    assert core.status("a").consumed.tokens == 30
    assert core.ledger.corrections == {}


def test_a_larger_figure_counts_on_the_day_of_the_record() -> None:
    core = opened().given(said("a", "m", 100))
    core.now += dt.timedelta(days=1)
    core.given(use("a", 5), said("a", "m", 150))
    assert core.only(e.UsageCorrected).day == "2026-03-04"
    assert core.ledger.used_today[0] == 5


def test_a_larger_figure_of_a_released_account_is_paid_as_a_late_report_is() -> None:
    core = opened().given(allocate("a/1", 500, parent="a"), said("a/1", "m", 100), c.ReleaseBudget(agent="a/1"))
    core.given(said("a", "m", 150))
    assert core.status("a").consumed.tokens == 150


def test_a_larger_figure_of_what_the_fleet_was_charged_for_is_charged_to_the_fleet() -> None:
    core = SourcedCore(fleet(100_000), allocate("a", 100, overdraft_max=budget(10)), use("a", 120))
    core.given(said("a", "m", 50), said("a", "m", 80))
    assert core.only(e.UsageCorrected).charged is None
    assert (core.ledger.root.spent[0], core.status("a").consumed.tokens) == (80, 120)


def test_a_stray_report_is_corrected_where_it_was_charged() -> None:
    core = opened().given(said("stray", "m", 50), said("stray", "m", 80))
    assert core.ledger.root.spent[0] == 80


# --- holds ------------------------------------------------------------------------------------------------------------


def test_a_settlement_of_a_source_that_was_reported_ends_its_hold_and_books_nothing() -> None:
    core = opened().given(hold("a", "h", 500), said("b", "m", 300))
    answer = core.when(settled("h", "m", 300))
    ended = core.then_events(e.HoldEnded).only(e.HoldEnded)
    assert (ended.how, ended.recorded_position) == ("settled", records(core)[0].position)
    assert (answer.recorded, answer.agent, core.status("a").held.tokens) == (False, "a", 0)
    assert (core.status("a").consumed.tokens, core.status("b").consumed.tokens) == (0, 300)
    core.when(settle("h", 300))
    core.then_refused("already_settled")


def test_a_report_of_a_source_that_was_settled_is_recorded_once() -> None:
    core = opened().given(hold("a", "h", 500), settled("h", "m", 300))
    assert not core.when(said("b", "m", 300)).recorded
    core.given(said("b", "m", 350))
    assert core.status("a").consumed.tokens == 350


def test_a_settlement_that_is_sent_again_under_another_id_is_answered_with_what_counts() -> None:
    core = opened().given(hold("a", "h", 500), settled("h", "m", 300))
    assert core.when(settled("h", "m", 300)).counted.tokens == 300
    core.then_events()


def test_a_larger_settlement_of_what_was_reported_is_a_correction_and_the_hold_ends() -> None:
    core = opened().given(said("a", "m", 300), hold("a", "h", 500), settled("h", "m", 400))
    core.then_events(e.HoldEnded, e.UsageCorrected)
    assert (core.status("a").consumed.tokens, core.status("a").held.tokens) == (400, 0)


def test_parts_under_one_source_say_how_much_it_is_in_all() -> None:
    core = opened().given(hold("a", "h", 500))
    for used in (100, 250, 400):
        core.given(settled("h", "m", used, final=used == 400))
    assert (core.status("a").consumed.tokens, core.status("a").held.tokens) == (400, 0)
    assert core.ledger.ended_holds["h"].booked == (400, 0, 0)


def test_a_part_that_becomes_more_than_a_hold_that_rejects_overage_is_refused() -> None:
    core = opened().given(hold("a", "h", 500, overage="reject"), settled("h", "m", 400, final=False))
    core.when(settled("h", "m", 600))
    core.then_refused("overage_rejected")
    assert core.status("a").consumed.tokens == 400


def test_what_an_expiry_booked_is_taken_back_where_it_is_recorded_from_elsewhere() -> None:
    core = opened().given(hold("a", "h", 500, on_expiry="spend", ttl_seconds=Decimal(60))).wait(61)
    core.given(said("a", "m", 300))
    assert core.status("a").consumed.tokens == 800
    core.given(settled("h", "m", 300))
    assert core.status("a").consumed.tokens == 300


def test_a_late_settlement_that_replaces_an_expiry_is_known_by_its_source() -> None:
    core = opened().given(hold("a", "h", 500, on_expiry="spend", ttl_seconds=Decimal(60))).wait(61)
    core.given(settled("h", "m", 300))
    assert not core.when(said("b", "m", 300)).recorded
    core.given(said("b", "m", 320))
    assert core.status("a").consumed.tokens == 320
    (spent,) = (event for event in core.log if isinstance(event, e.HoldSpent))
    core.given(correction(core, spent, 10))
    assert not core.when(said("a", "m", 320)).recorded
    assert core.status("a").consumed.tokens == 10


def test_the_last_call_is_used_by_a_settlement_that_books_nothing() -> None:
    core = SourcedCore(fleet(100_000, enforcement={"last_call": {"percent": 3}}), allocate("a", 1_000), use("a", 970))
    core.given(c.Reserve(id="h", agent="a", estimate=budget(10), last_call=True), said("a", "m", 1))
    core.given(settled("h", "m", 1))
    assert core.account("a").called == 2


def test_a_hold_that_books_nothing_gives_back_what_limits_counted_at_its_grant() -> None:
    limits = [{"name": "rpm", "per": "fleet", "window": {"seconds": 60}, "max": {"requests": 10}}]
    core = opened(limits=limits).given(
        c.Reserve(id="h", agent="a", estimate=budget(10), model="haiku"),
        said("a", "m", 10, model="haiku"),
        settled("h", "m", 10, model="haiku"),
    )
    (shown,) = core.when(c.GetLimits(limit="rpm")).limits
    assert shown.used["requests"] == 1


# --- any interleaving -------------------------------------------------------------------------------------------------


@dataclass
class Model:
    """For each source the largest figure, once; ``corrected`` what an operator says counts."""

    most: dict[str, list[int]] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)

    def say(self, source: str, figure: tuple[int, int, int]) -> None:
        most = self.most.setdefault(source, [0, 0, 0])
        counts = self.counts.setdefault(source, [0, 0, 0])
        for d, units in enumerate(figure):
            if units > max(most[d], counts[d]):
                counts[d] = units
            most[d] = max(most[d], units)


FIGURE = st.tuples(st.integers(1, 900), st.integers(0, 9), st.integers(0, 9))
ASKED = st.tuples(st.sampled_from("rsph"), st.sampled_from("ab"), st.sampled_from("xyz"), FIGURE)


@settings(max_examples=120, deadline=None)
@given(st.lists(st.one_of(ASKED, st.just("day"), st.just("release"), st.tuples(st.sampled_from("xyz"), FIGURE))))
def test_for_each_source_the_largest_figure_counts_once_whatever_comes_in_which_order(asked: list[object]) -> None:
    core, model = opened(), Model()
    for n, one in enumerate(asked):
        if one == "day":
            core.now += 25 * HOUR
        elif one == "release":
            core.when(c.ReleaseBudget(agent="a"))
        elif isinstance(one, tuple) and len(one) == 2:
            source, figure = one
            found = [event for event in records(core) if event.source_id == source]
            if found:
                usage = Usage(tokens=figure[0], time_seconds=Decimal(figure[1]), cost_usd=Decimal(figure[2]))
                command = c.CorrectUsage(position=found[0].position, usage=usage, reason="the bill")
                if not isinstance(core.when(command), Refusal):
                    model.counts[source] = list(figure)
        elif isinstance(one, tuple):
            kind, agent, source, figure = one
            if kind in "sph" and not isinstance(core.when(hold(agent, f"h{n}", 200)), Refusal):
                core.wait(400 if kind == "h" else 0)
                core.given(settled(f"h{n}", source, figure[0], str(figure[2]), final=kind != "p"))
                figure = (figure[0], 0, figure[2])
            else:
                core.given(said(agent, source, figure[0], str(figure[2]), seconds=figure[1]))
            model.say(source, figure)
    sums = [sum(figure[d] for figure in model.counts.values()) for d in range(3)]
    assert core.ledger.spent == [sums[0], sums[1] * 1_000, sums[2] * 10**9]
