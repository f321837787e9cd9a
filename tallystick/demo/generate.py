"""A fleet that never was, but could have been: its growth per step and its spread are those of measured runs.

The figures are summaries of 354 public runs of one coding agent on the SWE-bench tasks (14,302 steps, 12 products,
one campaign of 1.9 hours, up to 34 runs at once). An agent sends its whole context again at each step, so its prompt
grows about linearly and its total quadratically; how fast differs between runs about log-normally. Nothing of any
single run is in here.
"""

import math
import random
from collections.abc import Mapping
from typing import Final

from tallystick.config.kinds import Priority
from tallystick.config.prices import ModelPrice, from_mapping
from tallystick.config.settings import Config
from tallystick.demo.workload import Run, Step, Workload

SEED: Final = 2
RUNS: Final = 60
ARRIVALS_MS: Final = 10 * 60_000
"""The runs begin within these ten minutes: about twice as densely as in the measured campaign, for a shorter show."""

STEPS: Final = (3.60, 0.43)
"""Mean and standard deviation of the logarithm of the number of steps of a run (median 36)."""
STEPS_MIN, STEPS_MAX = 13, 90
FIRST_PROMPT: Final = (7.48, 0.26)
"""The same of the tokens of the first prompt (median 1,650)."""
GROWTH: Final = (6.32, 0.37)
"""The same of the tokens that a run's prompt grows by per step (median 546)."""
GROWTH_SPREAD: Final = 1.24
"""The standard deviation of the logarithm of one step's growth around its run's."""
OUTPUT: Final = (4.75, 1.22)
"""Mean and standard deviation of the logarithm of the tokens written per step (median 90)."""
OUTPUT_MAX: Final = 8_000
CACHE_MISSED: Final = 0.10
"""The share of steps whose prompt was not in the provider's cache at all."""
CACHED: Final = (0.55, 0.98, 0.885)
"""The rest: least, most and most usual share of the prompt that was."""
SECONDS: Final = (1.61, 0.70)
"""Mean and standard deviation of the logarithm of the seconds per step (median 4, whole seconds)."""

REVIEWED: Final = 0.25
"""Not measured, for the sake of the show: the share of runs that wait one to three minutes for a person's review."""
REVIEW_SECONDS: Final = (60, 180)

PRIORITIES: Final[tuple[Priority, ...]] = ("normal", "high", "normal", "normal", "critical", "normal", "low", "normal")
MODELS: Final[Mapping[Priority, str]] = {"critical": "opus", "high": "sonnet", "normal": "sonnet", "low": "haiku"}
"""Which model, by its name in the catalogue, works on what."""
PRICES: Final = from_mapping(
    {
        "claude-opus-5-5": {"input": 5, "output": 25, "cached_input": "0.5"},
        "claude-sonnet-5-5": {"input": 3, "output": 15, "cached_input": "0.3"},
        "claude-haiku-5-5": {"input": 1, "output": 5, "cached_input": "0.1"},
    }
)
"""Made-up prices in dollars per million tokens, so that the generated runs cost the same every time."""
TEAMS: Final = (("backend", "backend-engineer"), ("frontend", "frontend-engineer"), ("qa", "qa-engineer"))
"""Who works in this fleet: the beginning of an agent's name, and its type."""
PRODUCTS: Final = ("checkout", "search", "billing", "mobile")


_NOTE: Final = (
    f"They were generated (seed {SEED}): how their prompts grow from step to step, and how much they differ, follows"
    " figures measured on 354 runs of a coding agent."
)


def generate() -> Workload:
    """The same fleet every time."""
    chance = random.Random(SEED)  # noqa: S311 - a show, not a secret
    models = Config().models
    starts = sorted(round(chance.uniform(0, ARRIVALS_MS), -3) for _ in range(RUNS))
    runs = []
    for i, starts_ms in enumerate(starts):
        name, agent_type = TEAMS[i % len(TEAMS)]
        priority = PRIORITIES[i % len(PRIORITIES)]
        model = models[MODELS[priority]].id
        runs.append(
            Run(
                id=f"{name}-{i + 1:02d}",
                agent_type=agent_type,
                product=PRODUCTS[chance.randrange(len(PRODUCTS))],
                priority=priority,
                starts_ms=int(starts_ms),
                steps=_steps(chance, model, PRICES.models[model]),
            )
        )
    return Workload(f"{RUNS} generated agents, like real runs", _NOTE, tuple(runs), PRICES)


def _steps(chance: random.Random, model: str, price: ModelPrice) -> tuple[Step, ...]:
    count = min(STEPS_MAX, max(STEPS_MIN, round(chance.lognormvariate(*STEPS))))
    prompt = chance.lognormvariate(*FIRST_PROMPT)
    growth = chance.lognormvariate(*GROWTH)
    review_at = chance.randrange(3, 8) if chance.random() < REVIEWED else None
    steps = []
    for i in range(count):
        if i:
            # The factor in front keeps the mean of the log-normal growth at the run's own.
            prompt += growth * math.exp(-(GROWTH_SPREAD**2) / 2) * chance.lognormvariate(0, GROWTH_SPREAD)
        sent, written = int(prompt), min(OUTPUT_MAX, 1 + int(chance.lognormvariate(*OUTPUT)))
        missed = not i or chance.random() < CACHE_MISSED
        cached = 0 if missed else int(sent * chance.triangular(*CACHED))
        steps.append(
            Step(
                gap_ms=chance.randint(*REVIEW_SECONDS) * 1000 if i == review_at else 0,
                duration_ms=max(1, round(chance.lognormvariate(*SECONDS))) * 1000,
                model=model,
                input_tokens=sent,
                output_tokens=written,
                cached_tokens=cached,
                cost_nanos=price.cost(sent, written, cached),
            )
        )
    return tuple(steps)
