"""Which model a task runs on."""

from collections.abc import Mapping
from typing import NamedTuple

from tallystick.config.conditions import Value
from tallystick.config.settings import Config


class ModelChoice(NamedTuple):
    """The alias of a model, and the rule that chose it: its number in ``auto_model_selection.rules``, from 0, and its
    condition as it is written there.
    """

    model: str
    rule: int
    condition: str


def choose_model(config: Config, facts: Mapping[str, Value]) -> ModelChoice:
    """The model of the first rule that holds, in a configuration whose rules hold for any task.

    ``facts`` are those that conditions may name, of the task and of the fleet; see `Condition.holds`. A file's list
    without ``default`` has the packaged rules after its own, so that some rule always holds.
    """
    rules = config.auto_model_selection.rules
    number = next(n for n, condition in enumerate(config.rule_conditions) if condition.holds(facts))
    return ModelChoice(rules[number].model, number, rules[number].condition)
