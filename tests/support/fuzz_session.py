"""A whole session from a seed: a configuration, and the steps that happen to a fleet under it.

``session(seed)`` is the same each time. A step is a pair of a kind and what belongs to it, in plain values, so that a
list of steps can be printed, cut down, and written into a test.
"""

from random import Random
from typing import Any, NamedTuple

from tallystick.config.errors import ConfigError
from tallystick.config.loader import from_mapping
from tests.support.fuzz_config import beginning, file_text
from tests.support.fuzz_makers import MAKERS, opened
from tests.support.fuzz_words import STRANGE, Message, Temper, garbage, spoilt
from tests.support.fuzz_world import WORKFLOWS, World

WAITS = (0.001, 0.5, 1, 1, 5, 5, 30, 61, 121, 301)
LONG_WAITS = (1_801, 1_801, 3_601, 3_601, 86_400)
JUMPS = (1, 30, 59, 61, 600, 3_600, 86_400)
FAR_JUMPS = (86_400 * 40, 86_400 * 366 * 2)


class Step(NamedTuple):
    """One thing that happens.

    ``ask``: a message, or text; ``list``: messages in one envelope; ``burst``: messages that do not wait for one
    another; ``wait``: seconds that pass; ``jump``: seconds by which the clock is set forward or back; ``restart``: how
    the fleet ends and begins again; ``file``: what the followed file says now; ``views``: the views follow;
    ``read``: a command line.
    """

    kind: str
    what: Any


class Session(NamedTuple):
    config: dict[str, Any]
    steps: list[Step]


def session(seed: int) -> Session:
    """Everything follows from the seed."""
    dice = Random(seed)
    temper = Temper(dice)
    config = _beginning(dice, temper)
    world = World(dice, temper, config.get("total_budget", {}).get("tokens"))
    makers = [maker for _, maker in MAKERS]
    weights = [weight * dice.choice((0, 1, 1, 1, 1, 4)) for weight, _ in MAKERS]
    weights[0] = max(weights[0], 8)
    length = dice.choice((10, 40, 40, 100, 200))
    restless = dice.choice((0.0, 0.01, 0.03))
    steps = [Step("ask", opened(world)) for _ in range(dice.choice((0, 2, 6)))]
    for _ in range(length):
        chance = dice.random()
        if chance < 0.12:
            steps.append(Step("wait", dice.choice(LONG_WAITS if dice.random() < 0.04 else WAITS)))
        elif chance < 0.12 + restless:
            steps.append(_disturbance(dice, temper))
        elif chance < 0.20:
            many = [_message(dice, world, makers, weights) for _ in range(dice.choice((2, 3, 5, 12)))]
            steps.append(Step(dice.choice(("list", "burst")), many))
        else:
            steps.append(Step("ask", _message(dice, world, makers, weights)))
    if dice.random() < 0.3:
        steps += [_read(dice, world) for _ in range(3)]
    return Session(config, steps)


def _beginning(dice: Random, temper: Temper) -> dict[str, Any]:
    """A configuration that a fleet accepts: bounds are tried by `LoadConfig` and by the file too."""
    for _ in range(5):
        config = beginning(dice, temper)
        try:
            from_mapping(config)
        except ConfigError:
            continue
        return config
    return {}


def _message(dice: Random, world: World, makers: list[Any], weights: list[int]) -> Message | str:
    temper = world.temper
    if world.said and dice.random() < temper.repeated:
        return _repeated(dice, world)
    message = dice.choices(makers, weights)[0](world)
    if dice.random() < temper.spoilt:
        message = spoilt(dice, message)
        if dice.random() < 0.2:
            return garbage(dice, message)
    chance = dice.random()
    if chance < temper.strange / 2:
        message["id"] = dice.choice(STRANGE)
    elif "id" not in message and chance < 0.9:
        message["id"] = world.fresh("m")
    world.said.append(message)
    return message


def _repeated(dice: Random, world: World) -> Message:
    """A message again, under its id; or another under an id that was used."""
    before = dice.choice(world.said[-20:])
    if dice.random() < 0.6 or "id" not in before:
        return before
    return {**dice.choice(world.said[-20:]), "id": before["id"]}


def _disturbance(dice: Random, temper: Temper) -> Step:
    """What happens to a fleet from outside."""
    match dice.randint(0, 5):
        case 0 | 1:
            return Step("restart", {"crash": dice.random() < 0.5, "snapshots": dice.random() < 0.7})
        case 2:
            seconds = dice.choice(FAR_JUMPS if temper.large and dice.random() < 0.3 else JUMPS)
            return Step("jump", -seconds if dice.random() < temper.backwards + 0.3 else seconds)
        case 3 | 4:
            return Step("file", file_text(dice, temper))
    return Step("views", None)


def _read(dice: Random, world: World) -> Step:
    """A command line that only reads; ``@position`` is some position of the log."""
    return Step(
        "read",
        dice.choice(
            (
                ["report", "--workflow", dice.choice(WORKFLOWS)], ["report", "--json"], ["forecast"],
                ["forecast", "--json"], ["dashboard"], ["status"], ["status", "--json"], ["queue"],
                ["queue", "--json"], ["cost"], ["cost", "--json"], ["cost", "--by", "product"],
                ["cost", "--by", "agent"], ["cost", "--by", "model"], ["cost", "--month"], ["metrics"],
                ["audit", "explain", "@position"],
                ["audit", "replay", "--until", "@position"], ["audit", "replay", "--until", "@position", "--json"],
                ["status", "--at", "@position"], ["projections", "list"], ["audit", "anchor"],
            )
        ),
    )  # fmt: skip
