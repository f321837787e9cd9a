"""A naive model of limits: it keeps every use with its time, and adds up what a window holds when it is asked.

It knows nothing of counters, buckets or indexes. Units are those of the edges, as whole numbers of tokens and requests.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Any
from zoneinfo import ZoneInfo

MEASURES = ("tokens", "input_tokens", "output_tokens", "requests", "concurrent")
Amounts = dict[str, int]


@dataclass
class Use:
    """Something that was used, at a time, by what says this of itself; ``hold`` is what it was granted for."""

    at: dt.datetime
    says: dict[str, str]
    amounts: Amounts
    hold: str | None = None


@dataclass
class Model:
    """Of some limits in the form of the configuration. ``held`` are the holds that stand, with what they hold; ``free``
    is what agents have left of the tokens that were carved out for them.
    """

    limits: list[dict[str, Any]]
    zone: str
    free: dict[str, int]
    uses: list[Use] = field(default_factory=list)
    held: dict[str, tuple[dict[str, str], Amounts]] = field(default_factory=dict)
    opened: dict[tuple[str, str], dt.datetime] = field(default_factory=dict)
    """By limit and value, when the last window opened that opens at the first use."""

    def matches(self, limit: dict[str, Any], says: dict[str, str]) -> bool:
        for key, values in limit.get("match", {}).items():
            if says.get(key) not in ([values] if isinstance(values, str) else values):
                return False
        return True

    def value(self, limit: dict[str, Any], says: dict[str, str]) -> str:
        per = limit.get("per", "fleet")
        return "fleet" if per == "fleet" else says.get(per, "(none)")

    def _counts(self, limit: dict[str, Any], value: str, says: dict[str, str]) -> bool:
        return self.matches(limit, says) and self.value(limit, says) == value

    def taken(
        self, limit: dict[str, Any], value: str, measure: str, now: dt.datetime, slack: float = 0.0
    ) -> tuple[int, int]:
        """What is used and held; ``slack`` is the part by which a rolling window may be longer than it is."""
        uses = [use for use in self.uses if self._counts(limit, value, use.says) and any(use.amounts.values())]
        counted = [m for m in limit["max"] if m != "concurrent"]
        uses = [use for use in uses if any(use.amounts.get(m) for m in counted)]
        window = limit["window"]
        if isinstance(window, dict) and "from" in window:
            within = self._since_first(limit, value, uses, now)
        else:
            within = self._within(window, uses, now, slack)
        held = sum(held.get(measure, 0) for says, held in self.held.values() if self._counts(limit, value, says))
        return sum(use.amounts.get(measure, 0) for use in within), held

    def _within(self, window: Any, uses: list[Use], now: dt.datetime, slack: float) -> list[Use]:
        if window == "total":
            return uses
        if isinstance(window, str):
            return [use for use in uses if self._name(window, use.at) == self._name(window, now)]
        length = dt.timedelta(seconds=window["seconds"])
        return [use for use in uses if use.at > now - length * (1 + slack)]

    def _since_first(self, limit: dict[str, Any], value: str, uses: list[Use], now: dt.datetime) -> list[Use]:
        """What was used in the window that opened at the first use, while that is open."""
        opened = self.opened.get((limit["name"], value))
        length = dt.timedelta(seconds=limit["window"]["seconds"])
        if opened is None or now >= opened + length:
            return []
        return [use for use in uses if use.at >= opened]

    def _add(self, use: Use) -> None:
        """Something is used: where nothing counts in a window that opens at the first use, it opens now."""
        for limit in self.limits:
            window, value = limit["window"], self.value(limit, use.says)
            if not isinstance(window, dict) or "from" not in window or not self.matches(limit, use.says):
                continue
            counted = [m for m in limit["max"] if m != "concurrent"]
            before = [one for one in self.uses if self._counts(limit, value, one.says)]
            in_window = self._since_first(limit, value, before, use.at)
            if any(use.amounts.get(m) for m in counted) and not any(
                one.amounts.get(m) for one in in_window for m in counted
            ):
                self.opened[limit["name"], value] = use.at
        self.uses.append(use)

    def _name(self, window: str, at: dt.datetime) -> tuple[int, ...]:
        local = at.astimezone(ZoneInfo(self.zone))
        if window == "hour":
            # It began when the clocks last showed a full hour: where they are put back by half of one, it is longer.
            while local.minute or local.second or local.microsecond:
                at -= dt.timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
                local = at.astimezone(ZoneInfo(self.zone))
            return (int(at.timestamp()),)
        if window == "week":
            return tuple(local.isocalendar()[:2])
        return (local.year, local.month, local.day) if window == "day" else (local.year, local.month)

    def refuses(self, says: dict[str, str], asked: Amounts, now: dt.datetime, slack: float = 0.0) -> list[str]:
        """The limits that refuse what is asked for."""
        return [
            limit["name"]
            for limit in self.limits
            if self.matches(limit, says) and self._is_over(limit, self.value(limit, says), asked, now, slack)
        ]

    def _is_over(self, limit: dict[str, Any], value: str, asked: Amounts, now: dt.datetime, slack: float) -> bool:
        for measure, most in limit["max"].items():
            used, held = self.taken(limit, value, measure, now, slack)
            if (used >= most and measure != "concurrent") or used + held + asked.get(measure, 0) > most:
                return True
        return False

    # --- what happens ------------------------------------------------------------------------------------------------

    def spend(self, agent: str | None, tokens: int) -> None:
        """An agent uses, holds or gives away tokens; less than zero: they come back."""
        if agent is not None:
            self.free[agent] -= tokens

    def agent(self, id: str) -> str:
        """Whose hold it is."""
        return self.held[id][0]["account"]

    def hold(self, id: str, says: dict[str, str], tokens: int, sent: int, now: dt.datetime) -> None:
        """Requests and known input count as used; the rest is held."""
        self._add(Use(now, says, {"input_tokens": sent, "requests": 1}, id))
        self.spend(says["account"], tokens)
        self.held[id] = (says, {"tokens": tokens, "output_tokens": max(0, tokens - sent), "concurrent": 1})

    def settle(self, id: str, sent: int, got: int, now: dt.datetime) -> None:
        """What was granted is used as far as it was; what was used beyond it is used now."""
        says, held = self.held.pop(id)
        self.spend(says["account"], sent + got - held["tokens"])
        granted = next(use for use in self.uses if use.hold == id)
        before = granted.amounts["input_tokens"]
        granted.amounts["input_tokens"] = min(before, sent)
        amounts = {"tokens": sent + got, "input_tokens": max(0, sent - before), "output_tokens": got}
        self._add(Use(now, says, amounts))

    def end(self, id: str) -> None:
        """A hold ends unused: nothing of it was used."""
        says, held = self.held.pop(id)
        self.spend(says["account"], -held["tokens"])
        self.uses = [use for use in self.uses if use.hold != id]

    def report(self, says: dict[str, str], sent: int, got: int, now: dt.datetime) -> None:
        self.spend(says["account"], sent + got)
        amounts = {"tokens": sent + got, "input_tokens": sent, "output_tokens": got, "requests": 1}
        self._add(Use(now, says, amounts))
