"""What the same work would have cost on another model: seed 000's comparison, with its own numbers."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.amounts import cents, dollars
from tallystick.config.prices import parse, to_mapping
from tallystick.config.settings import Config, Model
from tallystick.events.messages import proposals as p
from tallystick.projections.reports.model_comparison import Alternative, Tokens, compare, compared_of
from tests.support.core import complete, submit
from tests.support.task_views import one_slot, view_store_of

SEED = "prices: {claude-opus-5-5: {input: 15, output: 75}, claude-haiku-5-5: {input: 0.25, output: 1.25}}"
NANOS = st.integers(0, 10**6)


def test_fixing_a_typo_costs_1_50_on_opus_and_0_025_on_haiku_and_saves_1_48_or_98_percent() -> None:
    compared = compare(Tokens(100_000), Config().models, parse(SEED, "prices.yml"))
    assert compared.alternatives == (Alternative("opus", 1_500_000_000), Alternative("haiku", 25_000_000))
    assert [dollars(cost) for _, cost in compared.alternatives] == ["1.50", "0.025"]
    saving = compared.saved(by="haiku", instead_of="opus")
    assert dollars(saving.saved_nanos) == "1.475"
    assert str(saving) == "$1.48 (98%)"


def test_a_model_without_a_price_is_named_and_not_compared() -> None:
    assert compare(Tokens(1), Config().models, parse(SEED, "prices.yml")).unpriced == ("sonnet",)


def test_output_and_cached_input_have_prices_of_their_own() -> None:
    prices = parse("prices: {m: {input: 4, output: 20, cached_input: 1}}", "prices.yml")
    (only,) = compare(Tokens(1_000, 10, 900), {"m": Model("me", "m")}, prices).alternatives
    assert only.cost_nanos == 100 * 4_000 + 10 * 20_000 + 900 * 1_000


def test_a_dearer_model_saves_nothing_and_says_what_it_costs_more() -> None:
    compared = compare(Tokens(100_000), Config().models, parse(SEED, "prices.yml"))
    saving = compared.saved(by="opus", instead_of="haiku")
    assert (saving.saved_nanos, cents(saving.saved_nanos)) == (-1_475_000_000, "-$1.48")


def test_each_completed_task_is_laid_beside_what_the_other_models_would_have_cost() -> None:
    core = one_slot(auto_model_selection={"rules": [{"condition": "default", "model": "opus"}]})
    core.given(p.LoadPrices(**to_mapping(parse(SEED, "prices.yml"))))
    core.given(submit("typo"), complete("typo", used=100_000), submit("later"), complete("later", used=50_000))
    core.given(submit("idle"), complete("idle"), submit("failed"), complete("failed", used=10, outcome="failed"))
    found = msgspec.to_builtins(compared_of(view_store_of(core)))
    assert [task["task"] for task in found] == ["typo", "later"]
    haiku = {"model": "haiku", "cost_usd": "0.025", "saved_usd": "1.475", "saved_percent": 98}
    assert (found[0]["model"], found[0]["cost_usd"], found[0]["instead"]) == ("opus", "1.50", [haiku])
    core.wait(86_400).given(submit("next"), complete("next", used=1_000))
    assert [task.task for task in compared_of(view_store_of(core))] == ["next"], "of the newest day only"


@given(NANOS, NANOS, st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99)), max_size=5))
def test_alternatives_are_from_the_most_expensive_on_and_each_is_what_a_report_would_cost(
    sent: int, written: int, models: list[tuple[int, int]]
) -> None:
    prices = parse(
        f"prices: {{{', '.join(f'm{i}: {{input: {a}, output: {b}}}' for i, (a, b) in enumerate(models))}}}",
        "prices.yml",
    )
    catalogue = {f"alias-{i}": Model("me", f"m{i}") for i in range(len(models))}
    compared = compare(Tokens(sent, written), catalogue, prices)
    costs = [cost for _, cost in compared.alternatives]
    assert costs == sorted(costs, reverse=True)
    assert dict(compared.alternatives) == {
        alias: prices.models[model.id].cost(sent, written, 0) for alias, model in catalogue.items()
    }
