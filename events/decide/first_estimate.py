"""The first estimate of an operation: what a hold sets aside for an output that its message does not name.

From what the last outputs of the agent's type on the model were: enough for so many of them (``holds.quantile``). Where
too few are known, the most that the message names.
"""

from typing import NamedTuple

from msgspec.structs import replace

from tallystick.config.amounts import AMOUNT_MAX, InvalidAmount
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages.replies import Refusal
from tallystick.events.state.ledger import Ledger
from tallystick.events.state.outputs import OUTPUTS_LEAST


class Estimated(NamedTuple):
    """The command with all that is to be set aside, and how the output was found; None where it was named."""

    command: c.Reserve
    by: e.EstimatedBy | None


def first_estimate(ledger: Ledger, command: c.Reserve) -> Estimated | Refusal:
    """Name the output of a `Reserve` that names neither that nor an estimate, but a model and its input.

    Raises:
        InvalidAmount: ``max_output_tokens`` is negative, or above `AMOUNT_MAX`.
    """
    most, model = command.max_output_tokens, command.model
    if most is not None and not 0 <= most <= AMOUNT_MAX:
        raise InvalidAmount("max_output_tokens", most, f"a whole number from 0 to {AMOUNT_MAX}")
    if command.estimate is not None or command.output_tokens is not None or command.provider_usage is not None:
        return Estimated(command, None)
    if model is None or command.input_tokens is None:
        return Estimated(command, None)
    account = ledger.accounts.get(command.agent)
    kind = None if account is None else account.agent_type
    learned = ledger.outputs.quantile(kind, ledger.rules.model_name(model), ledger.rules.quantile)
    if learned is not None:
        output = learned if most is None else min(learned, most)
        return Estimated(replace(command, output_tokens=output), "quantile")
    if most is not None:
        return Estimated(replace(command, output_tokens=most), "maximum")
    if account is None:
        return Estimated(command, None)  # which is refused for that
    of = "agents without a type" if kind is None else f"agents of the type {kind}"
    return Refusal(
        "estimate_needed",
        f"fewer than {OUTPUTS_LEAST} outputs of {model} for {of} are known: name estimate, output_tokens or"
        " max_output_tokens",
        {"agent": command.agent, "model": model, "agent_type": kind},
    )
