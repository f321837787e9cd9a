"""Messages in a few words: what operators type, in the words of the wire contract."""

import json
import re
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from tallystick.config.amounts import NUMBER
from tallystick.config.errors import did_you_mean, nearest
from tallystick.events import messages as c
from tallystick.events.log.codec import read_message
from tallystick.events.messages.replies import Refusal

_WORDS = (
    "pause REASON, resume [AGENT], stop AGENT REASON, approve-limit [--cost DOLLARS] [--tokens TOKENS], "
    "override PRODUCT PRIORITY [REASON], reset-breaker REASON, release-reserve REASON, retry TASK REASON, "
    "correct-usage POSITION AMOUNTS REASON, hand-over"
)
_WITH_REASON = {"pause": "PauseAll", "reset-breaker": "ResetBreaker", "release-reserve": "ReleaseReserve"}
_NO_PRIORITY = "none"
"""Ends what ``override`` began."""


def command_of(message: tuple[str, ...], limits: Mapping[str, str | None], new_id: str) -> c.Command:
    """The message in the words of the wire contract.

    Raises:
        UsageError: it is neither JSON nor one of the words, or the contract does not allow it.
    """
    first, rest = message[0], message[1:]
    if first != "approve-limit":
        for option, value in limits.items():
            if value is not None:
                raise click.UsageError(f"{option} belongs to approve-limit")
    if first.lstrip().startswith("{"):
        if rest:
            raise click.UsageError("the message ends with its last brace: put the whole of it in single quotes")
        return _checked(first, new_id)
    if first in _OTHERS:
        return _checked(_OTHERS[first](rest), new_id)
    if first in _WITH_REASON:
        if not rest:
            raise click.UsageError(f"{first} needs a reason, in words")
        return _checked({"type": _WITH_REASON[first], "reason": " ".join(rest)}, new_id)
    match first:
        case "resume":
            if len(rest) > 1:
                raise click.UsageError("resume takes an agent, or nothing for the whole fleet, and no reason")
            return _checked({"type": "Resume", "agent": rest[0]} if rest else {"type": "ResumeAll"}, new_id)
        case "approve-limit":
            return _checked(_approval(rest, limits), new_id)
    meant = did_you_mean(nearest(first, ORDERS))
    raise click.UsageError(f"found {first!r:.100}{meant}: allowed are a JSON object, {_WORDS}")


def _approval(rest: tuple[str, ...], limits: Mapping[str, str | None]) -> dict[str, Any]:
    """`ApproveLimit`; which amounts are right is decided by the core."""
    if rest:
        raise click.UsageError(f"approve-limit takes its limits as options: {rest[0]!r} is none; like --cost 200")
    message: dict[str, Any] = {"type": "ApproveLimit"}
    if limits["--reason"] is not None:
        message["reason"] = limits["--reason"]
    if limits["--limit"] is not None:
        return message | _of_limit(limits)
    for option, field, kind in (("--cost", "max_cost_usd", Decimal), ("--tokens", "max_tokens_total", int)):
        text = limits[option]
        if text is None:
            continue
        try:
            if not NUMBER.fullmatch(text):
                raise ValueError  # noqa: TRY301 - Python would read underscores, and digits of other scripts
            message[field] = kind(text)
        except (ValueError, InvalidOperation):
            example = "dollars like 200 or 12.50" if kind is Decimal else "whole tokens like 5000000"
            raise click.UsageError(f"{option}: found {text!r}, allowed are {example}") from None
    if message.keys() <= {"type", "reason"}:
        words = "--cost DOLLARS, --tokens TOKENS, or both; or --limit NAME with --max JSON"
        raise click.UsageError(f"approve-limit needs a limit: {words}")
    return message


def _of_limit(limits: Mapping[str, str | None]) -> dict[str, Any]:
    """The fields of `ApproveLimit` that name one limit."""
    example = """a JSON object like '{"tokens": 900000}'"""
    if limits["--max"] is None:
        raise click.UsageError(f"--limit needs --max, {example}: the new maximum; or '{{}}', which ends a raise")
    for option in ("--cost", "--tokens"):
        if limits[option] is not None:
            raise click.UsageError(f"{option} raises a limit of the day: with --limit, name it in --max, {example}")
    try:
        most = json.loads(limits["--max"], parse_float=Decimal)
    except ValueError:
        raise click.UsageError(f"--max: found {limits['--max']!r}, allowed is {example}") from None
    named = {"limit": limits["--limit"], "value": limits["--value"], "max": most}
    return {field: value for field, value in named.items() if value is not None}


def _override(rest: tuple[str, ...]) -> dict[str, Any]:
    """`OverridePriority`."""
    if len(rest) < 2:
        raise click.UsageError("override needs a product and a priority, like: override urgent-project critical")
    product, priority, reason = rest[0], rest[1], " ".join(rest[2:])
    if priority not in (*c.PRIORITIES, _NO_PRIORITY):
        allowed = ", ".join((*c.PRIORITIES, _NO_PRIORITY))
        raise click.UsageError(f"{priority!r} is no priority: allowed are {allowed}")
    message = {"type": "OverridePriority", "product": product}
    return message | {"priority": None if priority == _NO_PRIORITY else priority, "reason": reason or None}


def _checked(message: "str | dict[str, Any]", new_id: str) -> c.Command:
    read = read_message(message, lambda: new_id)
    if isinstance(read, Refusal):
        raise click.UsageError(f"{read.code}: {read.detail}")
    return read[0]


def _stop(rest: tuple[str, ...]) -> dict[str, Any]:
    """`Stop`, of one agent and those below it."""
    if len(rest) < 2:
        raise click.UsageError("stop needs an agent and a reason, like: stop a-1 it repeats itself")
    return {"type": "Stop", "agent": rest[0], "reason": " ".join(rest[1:])}


def _retry(rest: tuple[str, ...]) -> dict[str, Any]:
    """`RetryTask`, together with the tasks that were cancelled with it."""
    if len(rest) < 2:
        raise click.UsageError("retry needs a task and a reason, like: retry T-1 the provider is back")
    return {"type": "RetryTask", "task": rest[0], "reason": " ".join(rest[1:]), "revive_dependents": True}


def _correction(rest: tuple[str, ...]) -> dict[str, Any]:
    """`CorrectUsage`: a position, what counts (like ``tokens=200 cost_usd=0.5 model=haiku``) and a reason."""
    example = "like: correct-usage 1234 tokens=200 cost_usd=0.50 the agent counted twice"
    if rest and not _POSITION.fullmatch(rest[0]):
        raise click.UsageError(f"correct-usage: found {rest[0]!r:.100}, allowed is a position first, {example}")
    if len(rest) < 3:
        raise click.UsageError(f"correct-usage needs a position, what counts and a reason, {example}")
    said: dict[str, Any] = {}
    usage: dict[str, Any] = {}
    words = list(rest[1:])
    while words and (named := _AMOUNT.fullmatch(words[0])):
        name, value = (part for part in named.groups() if part is not None)
        amount = value if name == "model" else int(value) if value.isdigit() and name != "cost_usd" else Decimal(value)
        (usage if name in ("tokens", "time_seconds", "cost_usd") else said)[name] = amount
        words.pop(0)
    if not (usage or said):
        raise click.UsageError(f"correct-usage: found {words[0]!r:.100}, allowed is what counts, {example}")
    if not words:
        raise click.UsageError(f"correct-usage needs a reason behind what counts, {example}")
    said |= {"usage": usage} if usage else {}
    return {"type": "CorrectUsage", "position": int(rest[0]), **said, "reason": " ".join(words)}


_POSITION = re.compile("[0-9]{1,18}")
_AMOUNT = re.compile(
    r"(tokens|time_seconds|cost_usd|requests|(?:input|output|cached|cache_write|reasoning|audio_input|audio_output)_tokens)"
    r"=([0-9]+(?:\.[0-9]+)?)|(model)=(\S+)"
)
_OTHERS: Mapping[str, Callable[[tuple[str, ...]], dict[str, Any]]] = {
    "correct-usage": _correction,
    "override": _override,
    "retry": _retry,
    "stop": _stop,
}
"""The words that are followed by more than a reason."""
ORDERS = frozenset({*_WITH_REASON, *_OTHERS, "resume", "approve-limit"})
"""The first words of an operator's messages."""
