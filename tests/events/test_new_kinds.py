"""A kind that was never seen: runs and errors of others say nothing of it, and their growth where kinds are alike."""

import random
from statistics import variance

import pytest

from tallystick.config.amounts import TOKENS
from tallystick.events import catalog as e
from tallystick.events.state.history import (
    RUNS_MIN,
    SCORES_MIN,
)
from tests.support.past_runs import growing, learned, score, taught


def kinds_of(rng: random.Random, *levels: int, labels: str = "type-{}", model: str = "m") -> list[e.RunLearned]:
    """Ten runs of a kind for each level, which they scatter about by a tenth."""
    return [
        learned(growing(rng, level, 100, 10), agent_type=labels.format(n), model=model)
        for n, level in enumerate(levels)
        for _ in range(10)
    ]


def test_what_runs_of_another_kind_used_and_how_long_they_took_says_nothing() -> None:
    history = taught(*[learned([(500, 0, 0)] * 4, elapsed_ms=4_000)] * 50)
    for other in (("dev", "m"), ("qa", "other"), ("qa", None), (None, "m"), (None, None)):
        known = history.known(*other)
        assert list(known.runs()) == []
        assert known.pace_ms() is None
    assert len(list(history.known("qa", "m").runs())) == 50


def test_a_run_that_has_not_reported_is_like_those_of_its_type_where_all_had_one_model() -> None:
    history = taught(*[learned([(500, 0, 0)] * 4)] * RUNS_MIN)
    assert len(list(history.expected("qa").runs())) == RUNS_MIN
    assert list(history.expected("dev").runs()) == []
    history.fold(learned([(500, 0, 0)] * 4, model="other"))
    assert list(history.expected("qa").runs()) == []


def test_scores_of_another_kind_or_of_another_model_are_no_confidence() -> None:
    history = taught(*[score(20.0, 21.0)] * SCORES_MIN)
    assert history.known("qa", "m").errors(TOKENS, 5) is not None
    for other in (("dev", "m"), ("qa", "other"), ("qa", None), (None, "m"), (None, None)):
        assert history.known(*other).errors(TOKENS, 5) is None


def test_one_other_kind_says_nothing_of_how_much_kinds_differ_and_lends_nothing() -> None:
    assert taught(*kinds_of(random.Random(1), 5_000)).known("new", "m").line(TOKENS) is None


def test_kinds_that_are_alike_lend_their_growth_with_the_variance_between_them_added() -> None:
    history = taught(*kinds_of(random.Random(1), 4_900, 5_000, 5_100))
    own, lent = history.known("type-1", "m").line(TOKENS), history.known("new", "m").line(TOKENS)
    assert own is not None
    assert lent is not None
    assert lent.level == pytest.approx(5_000, rel=0.05)
    assert lent.growth == pytest.approx(100, rel=0.2)
    means = [kind.priors[TOKENS].mean[0] for _, kind in history.kinds()]
    within = [kind.priors[TOKENS].line.level_var for _, kind in history.kinds()]
    # Three kinds: a sample variance, and a third of it more since their mean is known by three only.
    assert lent.level_var == pytest.approx(sum(within) / 3 + variance(means) * 4 / 3)


def test_kinds_that_differ_more_than_the_runs_of_one_kind_lend_nothing() -> None:
    history = taught(*kinds_of(random.Random(1), 2_000, 5_000, 20_000))
    assert history.known("new", "m").line(TOKENS) is None


def test_a_kind_of_large_numbers_does_not_hide_how_small_ones_differ() -> None:
    history = taught(*kinds_of(random.Random(1), 500, 1_500, 40_000, 44_000))
    assert history.known("new", "m").line(TOKENS) is None


def test_kinds_of_the_same_agent_type_are_asked_first_then_those_of_the_same_model() -> None:
    rng = random.Random(1)
    alike = [*kinds_of(rng, 4_900, 5_100, labels="qa", model="a"), *kinds_of(rng, 5_000, labels="qa", model="b")]
    foreign = kinds_of(rng, 70_000, 71_000, labels="bot-{}", model="c")
    history = taught(*alike, *foreign)
    by_type, by_model = history.known("qa", "new").line(TOKENS), history.known("new", "c").line(TOKENS)
    assert by_type is not None
    assert by_type.level == pytest.approx(5_000, rel=0.05)
    assert by_model is not None
    assert by_model.level > 50_000
    assert history.known("new", "new").line(TOKENS) is None


def test_a_few_runs_of_its_own_outweigh_all_others() -> None:
    rng = random.Random(1)
    others = kinds_of(rng, 4_900, 5_000, 5_100)
    own = [learned(growing(rng, 900, 20, 10), agent_type="new") for _ in range(RUNS_MIN)]
    lent, line = (
        taught(*others, *own[1:]).known("new", "m").line(TOKENS),
        taught(*others, *own).known("new", "m").line(TOKENS),
    )
    assert lent is not None
    assert lent.level > 4_000
    assert line is not None
    assert line.level < 1_500


def test_what_is_lent_follows_what_is_learnt() -> None:
    rng = random.Random(1)
    history = taught(*kinds_of(rng, 4_900, 5_000, 5_100))
    assert history.known("new", "m").line(TOKENS) is not None
    for event in kinds_of(rng, 90_000, labels="far"):
        history.fold(event)
    assert history.known("new", "m").line(TOKENS) is None
