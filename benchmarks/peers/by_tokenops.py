"""The package agent-tokenops within one process: a run for each budget, in memory, around the call of a model.

Its control plane, a server with a database, is a package of its own and not measured.
"""

import contextvars
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tokenops import tokenops_run
from tokenops.capabilities import wrap_complete
from tokenops.framework import Halt, Usage
from tokenops.framework.message_steering import estimate_input_tokens
from tokenops.framework.pricing import build_price_book
from tokenops.providers.types import ModelResponse

from benchmarks.peers.contract import UNITS, Call

_PROVIDER, _MODEL = "openai", "gpt-4o"
_MESSAGES = [{"role": "user", "content": "?"}]


class ByRuns:
    """A call answers `UNITS` tokens to nothing but a question mark; its prevention of what cannot fit is on."""

    def __init__(self, _: Path, __: str) -> None:
        self._price = build_price_book()(_PROVIDER, _MODEL, Usage(output=UNITS))
        self._asked = build_price_book()(_PROVIDER, _MODEL, Usage(input=estimate_input_tokens(_MESSAGES)))
        self._runs: dict[str, _Run] = {}

    def open(self, budgets: Mapping[str, int]) -> None:
        for name, units in budgets.items():
            self._runs[name] = _Run(self._price * (units // UNITS) + self._asked + 1)

    def cycle(self, budget: str, call: Call) -> bool:
        return self._runs[budget].complete(call)

    def rest(self) -> None:
        pass

    def used(self, budget: str) -> int:
        return self._runs[budget].spent() * UNITS // self._price

    def close(self) -> None:
        for run in self._runs.values():
            run.close()


class _Run:
    """One run with a budget in millionths of a dollar. Callers complete in copies of its context."""

    def __init__(self, micros: int) -> None:
        self._context, self._opened = contextvars.copy_context(), ExitStack()
        governance = {
            "budgets": [{"id": "cap", "limit_micros": micros, "dimension": "trace"}],
            "policies": {"pre_call_worst_case": {"budget": "cap", "default_max_output": UNITS}},
        }
        run = tokenops_run(
            config={"governance": governance}, service="peers", intent="peers", provider=_PROVIDER, model=_MODEL
        )
        self._bound = self._context.run(self._opened.enter_context, run)

    def complete(self, call: Call) -> bool:
        def dispatch(*_: Any, **__: Any) -> ModelResponse:
            call()
            return ModelResponse(content="!", input_tokens=0, output_tokens=UNITS)

        bound = self._bound
        complete = wrap_complete(
            bound.governor,
            bound.controls,
            bound.attr,
            provider=_PROVIDER,
            model=_MODEL,
            dispatch=dispatch,
            service="peers",
        )
        try:
            self._context.copy().run(complete, _PROVIDER, _MODEL, _MESSAGES)
        except Halt:
            return False
        return True

    def spent(self) -> int:
        return int(self._bound.governor.ledger.cost_micros(self._bound.attr.trace_id))

    def close(self) -> None:
        self._context.run(self._opened.close)
