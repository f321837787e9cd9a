"""The small world of a fuzzed session, and what is asked in it: messages that mean something most of the time.

The world remembers what was asked for, whether or not it was granted. Where a message is to be about what there is
then, it says ``@agent 7``, ``@hold 7``, ``@run 7``, ``@task 7``, ``@ended 7`` or ``@lease``: the player puts in a name
that is there (see ``fuzz_play``).
"""

from random import Random
from typing import Any

from tests.support.fuzz_words import STRANGE, Message, Temper, amount

PRODUCTS = ("shop", "site", "lab")
TYPES = ("backend", "qa", "architect", "writer")
WORKFLOWS = ("launch", "night")
MODELS = (
    "claude-opus-5-5", "claude-sonnet-5-5", "anthropic/claude-haiku-5-5", "gpt-4o", "openrouter/openai/gpt-4o-mini",
    "bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0", "no-such-model", "gemini-2.5-pro", "my-local-model", "opus",
)  # fmt: skip
REASONS = ("enough", "x", "an operator's word", "x" * 1_000)


class World:
    """What was asked for so far."""

    def __init__(self, dice: Random, temper: Temper, total: int | None) -> None:
        self.dice, self.temper = dice, temper
        self.part = min(10_000, max(1, (total or 10**6) // dice.choice((10, 30, 100))))
        """About what an account is given."""
        self.agents: list[str] = []
        self.released: list[str] = []
        self.holds: list[str] = []
        self.ended: list[str] = []
        self.tasks: list[str] = []
        self.finished: list[str] = []
        self.said: list[Message] = []
        self._count = 0

    def fresh(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def strange_or(self, name: str) -> str:
        return self.dice.choice(STRANGE) if self.dice.random() < self.temper.strange else name

    def agent(self) -> str:
        """Mostly an open account, sometimes a task's, a closed one, or one that never was."""
        chance = self.dice.random()
        if chance < 0.7:
            return f"@agent {self.dice.randint(0, 999)}"
        if chance < 0.8 and self.released:
            return self.dice.choice(self.released)
        if chance < 0.85 and self.tasks:
            return self.dice.choice(self.tasks)
        if self.agents and chance < 0.97:
            return self.dice.choice(self.agents)
        return self.strange_or("nobody")

    def hold(self) -> str:
        chance = self.dice.random()
        if chance < 0.7:
            return f"@hold {self.dice.randint(0, 999)}"
        if self.holds and chance < 0.85:
            return self.dice.choice(self.holds[-12:])
        if self.ended and chance < 0.97:
            return self.dice.choice(self.ended)
        return self.strange_or("no-hold")

    def task(self) -> str:
        chance = self.dice.random()
        if chance < 0.5:
            return f"@run {self.dice.randint(0, 999)}"
        if chance < 0.65:
            return f"@task {self.dice.randint(0, 999)}"
        if self.tasks and chance < 0.88:
            return self.dice.choice(self.tasks[-12:])
        if self.finished and chance < 0.97:
            return self.dice.choice(self.finished)
        return self.strange_or("no-task")

    def names(self) -> dict[str, list[str]]:
        """What the fields of a message that is made up may name."""
        agents, holds, tasks = self.agents or ["nobody"], self.holds or ["no-hold"], self.tasks or ["no-task"]
        return {
            "agent": agents, "parent": agents, "hold": holds, "task": tasks, "product": list(PRODUCTS),
            "agent_type": list(TYPES), "workflow": list(WORKFLOWS), "model": list(MODELS), "reason": list(REASONS),
            "lease": ["@lease"],
        }  # fmt: skip

    def amount(self) -> Message:
        return amount(self.dice, self.temper, self.part)

    def used(self) -> Message:
        """What was used: a small part of an account, seldom more than it has."""
        return amount(self.dice, self.temper, max(1, self.part // self.dice.choice((1, 5, 20))), fine=True)

    def may(self, message: Message, **optional: Any) -> Message:
        """Some of the optional fields."""
        chance = self.dice.choice((0.0, 0.3, 0.8))
        named = {name: value for name, value in optional.items() if value is not None and self.dice.random() < chance}
        return {**message, **named}
