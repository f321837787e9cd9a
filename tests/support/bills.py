"""A fleet's true usage, what its agents report of it, and the bill of it in every format, with known faults."""

import csv
import datetime as dt
import io
import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

from tallystick.config.amounts import dollars
from tallystick.config.price_list import PriceList
from tallystick.config.published import published_prices
from tallystick.config.settings import Config
from tallystick.events.state.rules import Rules
from tallystick.fleet import Fleet
from tallystick.reconcile.billed import Parts
from tallystick.reconcile.causes import Prices

FIRST = dt.datetime(2026, 10, 5, tzinfo=dt.UTC)
MODELS = {"openai": ("gpt-4o", "gpt-4.1-mini"), "anthropic": ("claude-sonnet-4-5", "claude-haiku-4-5")}
AGENTS = ("ann", "bob", "cid")
KINDS = ("price", "cache", "renamed", "late", "duplicated", "never_billed", "never_reported", "time_zone")
RULES = Rules(Config(), PriceList({}, published_prices(FIRST.date())))
PRICES = Prices(RULES)


@dataclass(frozen=True)
class Call:
    """One call to a model, as it was."""

    id: str
    at: dt.datetime
    agent: str
    model: str
    parts: Parts
    cost: int

    @property
    def key(self) -> str:
        return f"key-{self.agent}"

    @property
    def day(self) -> str:
        return self.at.date().isoformat()


@dataclass
class World:
    """The calls that a provider bills, those that agents report, and the faults between the two: kind and day."""

    billed: list[Call]
    reported: list[Call]
    faults: list[tuple[str, str]] = field(default_factory=list)
    zone_hours: int = 0


def cost_of(model: str, parts: Parts) -> int:
    quote = PRICES.quote(model, parts, several=False)
    assert quote is not None
    return quote


def true_usage(dice: Random, provider: str, days: int = 10, calls: int = 4) -> list[Call]:
    """Some calls on each day by each agent with each model; no two are alike."""
    made = []
    for day in range(days):
        for agent in AGENTS:
            for model in MODELS[provider]:
                for n in range(calls):
                    cached = dice.randint(200, 4_000)
                    written = dice.randint(100, 900) if provider == "anthropic" else 0
                    parts = Parts(dice.randint(300, 9_000), cached, written, dice.randint(10, 3_000))
                    # Not within two hours of midnight, so that which day is meant is never a question of seconds.
                    at = FIRST + dt.timedelta(days=day, seconds=dice.randint(7_200, 79_200))
                    id = f"call-{day}-{agent}-{model}-{n}"
                    made.append(Call(id, at, agent, model, parts, cost_of(model, parts)))
    return sorted(made, key=lambda call: (call.at, call.id))


def seeded(
    seed: int, provider: str, kinds: Sequence[str] = KINDS, *, by_sums: bool = False, calls_each: int = 4
) -> World:
    """True usage with one fault of each kind, each on a day and a model of its own."""
    dice = Random(seed)
    calls = true_usage(dice, provider, calls=calls_each)
    world = World(list(calls), list(calls), zone_hours=dice.choice((-8, -5, 5, 9)) if "time_zone" in kinds else 0)

    def day_of(call: Call) -> str:
        return _local(world, call).date().isoformat() if by_sums else call.day

    places = [(day, model) for day in sorted({day_of(call) for call in calls})[1:-2:2] for model in MODELS[provider]]
    dice.shuffle(places)
    for kind in kinds:
        if kind == "time_zone":
            world.faults.append((kind, ""))
            continue
        day, model = places.pop()
        _fault(dice, world, kind, [call for call in calls if (day_of(call), call.model) == (day, model)], by_sums)
        world.faults.append((kind, day))
    return world


def _fault(dice: Random, world: World, kind: str, there: list[Call], by_sums: bool) -> None:
    one = dice.choice(there)
    touched = there if by_sums and kind in ("price", "cache", "renamed") else [one]
    match kind:
        case "duplicated":
            world.billed.append(one)
        case "never_billed":
            world.billed.remove(one)
        case "never_reported":
            world.reported.remove(one)
        case _:
            world.billed = [_changed(call, kind) if call in touched else call for call in world.billed]


def _changed(call: Call, kind: str) -> Call:
    """A call as it is billed by a fault."""
    match kind:
        case "price":
            return replace(call, cost=call.cost * 13 // 10)
        case "cache":
            fresh = Parts(call.parts.fresh + call.parts.cached, 0, *call.parts[2:])
            return replace(call, cost=cost_of(call.model, fresh))
        case "renamed":
            return replace(call, model=f"{call.model}-next", cost=call.cost * 11 // 10)
    return replace(call, at=call.at + dt.timedelta(days=1))


def report(fleet: Fleet, calls: Sequence[Call], *, with_ids: bool = True) -> None:
    """Let agents report calls."""
    messages: list[dict[str, Any]] = [
        {
            "type": "ReportUsage",
            "agent": call.agent,
            "model": call.model,
            "input_tokens": call.parts.input,
            "output_tokens": call.parts.output,
            "cached_tokens": call.parts.cached,
            "cache_write_tokens": call.parts.written,
            "usage": {"cost_usd": dollars(call.cost)},
            "occurred_at": call.at.isoformat(),
            "labels": {"key": call.key},
            **({"source_id": call.id} if with_ids else {}),
        }
        for call in calls
    ]
    for first in range(0, len(messages), 1_000):
        assert all("ok" in answer for answer in fleet.ask(messages[first : first + 1_000]))


# --- bills ------------------------------------------------------------------------------------------------------------


def litellm(world: World) -> dict[str, str]:
    """One spend log a line."""
    return {"bill.jsonl": "".join(f"{json.dumps(_litellm(world, call))}\n" for call in world.billed)}


def _litellm(world: World, call: Call) -> dict[str, object]:
    return {
        "request_id": call.id,
        "call_type": "acompletion",
        "api_key": call.key,
        "spend": float(dollars(call.cost)),
        "total_tokens": call.parts.all,
        "prompt_tokens": call.parts.input,
        "completion_tokens": call.parts.output,
        "startTime": _local(world, call).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "model": call.model,
        "custom_llm_provider": "openai",
        "metadata": {"user_api_key_alias": call.key},
    }


def openrouter(world: World) -> dict[str, str]:
    """The activity as CSV."""
    rows = [
        {
            "generation_id": call.id,
            "created_at": _local(world, call).strftime("%Y-%m-%d %H:%M:%S.%f"),
            "cost_total": dollars(call.cost),
            "tokens_prompt": call.parts.input,
            "tokens_completion": call.parts.output,
            "tokens_reasoning": 0,
            "tokens_cached": call.parts.cached,
            "model_permaslug": call.model,
            "provider_name": "Somebody",
            "app_name": "",
            "api_key_name": call.key,
        }
        for call in world.billed
    ]
    return {"bill.csv": as_csv(rows)}


def openai(world: World) -> dict[str, str]:
    """A usage and a cost export."""
    usage, costs = [], []
    for (day, model, key), calls in _cells(world):
        span = {"object": "bucket", "start_time": _unix(day), "end_time": _unix(day) + 86_400}
        parts = _sum(calls)
        result = {
            "object": "organization.usage.completions.result",
            "input_tokens": parts.input,
            "input_cached_tokens": parts.cached,
            "output_tokens": parts.output,
            "num_model_requests": len(calls),
            "api_key_id": key,
            "model": model,
        }
        usage.append({**span, "results": [result]})
        # A provider rounds its costs for people: here it gives all digits, in three lines.
        cost = sum(call.cost for call in calls)
        thirds = (cost // 2, cost // 3, cost - cost // 2 - cost // 3)
        lines = zip(("input", "cached input", "output"), thirds, strict=True)
        results = [
            {
                "object": "organization.costs.result",
                "amount": {"value": part / 1e9, "currency": "usd"},
                "line_item": f"{model}, {item}",
                "api_key_id": key,
            }
            for item, part in lines
        ]
        costs.append({**span, "results": results})
    return {"usage.json": _page(usage), "costs.json": _page(costs)}


def anthropic(world: World) -> dict[str, str]:
    """A usage and a cost report; the latter in cents, without keys."""
    usage, costs = [], []
    for (day, model, key), calls in _cells(world):
        span = {"starting_at": f"{day}T00:00:00Z", "ending_at": f"{_next(day)}T00:00:00Z"}
        parts = _sum(calls)
        result = {
            "uncached_input_tokens": parts.fresh,
            "cache_creation": {"ephemeral_5m_input_tokens": parts.written, "ephemeral_1h_input_tokens": 0},
            "cache_read_input_tokens": parts.cached,
            "output_tokens": parts.output,
            "api_key_id": key,
            "model": model,
        }
        usage.append({**span, "results": [result]})
        cents = str(Decimal(sum(call.cost for call in calls)) / 10**7)
        costs.append(
            {**span, "results": [{"currency": "USD", "amount": cents, "model": model, "cost_type": "tokens"}]},
        )
    return {"usage.json": _page(usage), "costs.json": _page(costs)}


def focus(world: World) -> dict[str, str]:
    """A row for each day, model and agent."""
    rows = [
        {
            "BilledCost": dollars(sum(call.cost for call in calls)),
            "BillingCurrency": "USD",
            "ChargeCategory": "Usage",
            "ChargePeriodStart": f"{day}T00:00:00Z",
            "ChargePeriodEnd": f"{_next(day)}T00:00:00Z",
            "ConsumedQuantity": _sum(calls).all,
            "ConsumedUnit": "Tokens",
            "ProviderName": "OpenAI",
            "SkuId": model,
            "Tags": json.dumps({"agent": calls[0].agent}),
        }
        for (day, model, _), calls in _cells(world)
    ]
    return {"bill.csv": as_csv(rows)}


FORMS: dict[str, tuple[str, Callable[[World], dict[str, str]], bool]] = {
    "litellm": ("openai", litellm, False),
    "openrouter": ("openai", openrouter, False),
    "openai": ("openai", openai, True),
    "anthropic": ("anthropic", anthropic, True),
    "focus": ("openai", focus, True),
}
"""By format: whose models, how a bill is written, and whether it has sums."""


def written(folder: Path, texts: dict[str, str]) -> list[Path]:
    """The files of a bill."""
    files = []
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
        files.append(folder / name)
    return files


def as_csv(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _page(buckets: list[dict[str, object]]) -> str:
    return json.dumps({"object": "page", "data": buckets, "has_more": False, "next_page": None})


def _local(world: World, call: Call) -> dt.datetime:
    return call.at + dt.timedelta(hours=world.zone_hours)


def _cells(world: World) -> list[tuple[tuple[str, str, str], list[Call]]]:
    cells: dict[tuple[str, str, str], list[Call]] = defaultdict(list)
    for call in world.billed:
        cells[_local(world, call).date().isoformat(), call.model, call.key].append(call)
    return sorted(cells.items())


def _sum(calls: Sequence[Call]) -> Parts:
    return Parts(*map(sum, zip(*(call.parts for call in calls), strict=True)))


def _next(day: str) -> str:
    return (dt.date.fromisoformat(day) + dt.timedelta(days=1)).isoformat()


def _unix(day: str) -> int:
    return int(dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())


def entangled(seed: int, provider: str) -> World:
    """Usage with many faults on both sides, several of them in one place."""
    dice = Random(seed)
    calls = true_usage(dice, provider, days=4, calls=3)
    world = World(list(calls), list(calls), zone_hours=dice.choice((0, 0, -8, 9)))
    kinds = ("price", "cache", "renamed", "late", "duplicated", "never_billed", "never_reported")
    for _ in range(dice.randint(3, 25)):
        # The first and the last call stay: from the one to the other goes a bill that lists calls.
        _fault(dice, world, dice.choice(kinds), [dice.choice(calls[1:-1])], False)
        twice = dice.choice(world.reported)
        if dice.random() < 0.2:
            world.reported.append(replace(twice, id=f"{twice.id}-again"))
        calls = [call for call in calls if call in world.billed and call in world.reported]
    return world
