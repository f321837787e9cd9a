"""What is used in a fuzzed session, and held before it."""

from typing import Any

from tests.support.fuzz_words import COUNTED, LARGE_SECONDS, LARGE_TOKENS, SECONDS, TOKENS, Message, aside, number
from tests.support.fuzz_world import MODELS, World


def labels(w: World) -> Message:
    return {w.strange_or("team"): w.strange_or("red") for _ in range(w.dice.randint(0, 2))}


def _used(w: World, message: Message) -> Message:
    """What was used, in one of the ways in which it may be said."""
    way = w.dice.randint(0, 5)
    if way != 0:
        message["usage"] = w.used()
    if way in (0, 1, 2):
        message["model"] = w.strange_or(w.dice.choice(MODELS))
        for name in w.dice.sample(COUNTED, w.dice.randint(0, 4)):
            if name.startswith(("input", "output", "cache", "reasoning", "audio")):
                message[name] = number(w.dice, w.temper, TOKENS, LARGE_TOKENS, fine=True)
        message = w.may(message, requests=number(w.dice, w.temper, TOKENS, LARGE_TOKENS))
    if way == 3:
        message["provider_usage"] = _provider_usage(w)
        message["model"] = w.dice.choice(MODELS)
    return message


def _provider_usage(w: World) -> Any:
    def count() -> Any:
        return number(w.dice, w.temper, TOKENS, LARGE_TOKENS, fine=True)

    return w.dice.choice(
        (
            {"input_tokens": count(), "output_tokens": count(), "cache_read_input_tokens": count()},
            {"prompt_tokens": count(), "completion_tokens": count(), "total_tokens": count()},
            {"prompt_tokens": count(), "prompt_tokens_details": {"cached_tokens": count(), "audio_tokens": count()}},
            {"promptTokenCount": count(), "candidatesTokenCount": count(), "thoughtsTokenCount": count()},
            {"inputTokens": count(), "outputTokens": count(), "totalTokens": count()},
            {"input_tokens": [count()], "nested": {"deeper": {"x": {"y": {"z": {"q": count()}}}}}},
            [count()], "none", None, {},
        )
    )  # fmt: skip


_AGO = (-30, 0, 1, 60, 600, 7_200, 40_000, 90_000, 10**6, 10**9)


def _from_elsewhere(message: Message) -> Message:
    """Now and then under a source, of which there are few, and with a time of its own."""
    dice = aside(["from elsewhere", message])
    if dice.random() < 0.15:
        message["source_id"] = f"s-{dice.randint(0, 9)}"
    if dice.random() < 0.15:
        message["occurred_at"] = f"@ago {dice.choice(_AGO)}"
    return message


def report(w: World) -> Message:
    if w.tasks and w.dice.random() < 0.35:
        task = w.task()
        message: Message = {"type": "ReportUsage", "task": task}
        if w.dice.random() < 0.5:
            message["lease"] = "@lease"
    else:
        message = {"type": "ReportUsage", "agent": w.agent()}
    return _from_elsewhere(_used(w, w.may(message, operation=w.strange_or("edit"))))


def reserve(w: World) -> Message:
    hold = w.fresh("h")
    w.holds.append(hold)
    message: Message = {"type": "Reserve", "id": hold, "agent": w.agent(), "estimate": w.used()}
    ttl = number(w.dice, w.temper, (1, "0.001", 30, 300, 3_600), (10**7, SECONDS[0], *LARGE_SECONDS))
    message = w.may(message, overage="reject", operation=w.strange_or("edit"), labels=labels(w), reason="to try")
    message = w.may(
        message, ttl_seconds=ttl, model=w.dice.choice(MODELS), input_tokens=100, dry_run=w.dice.random() < 0.2
    )
    dice = aside(message)
    if dice.random() < 0.3:
        message["on_expiry"] = "spend"
    if dice.random() < 0.2:
        message["last_call"] = True
    if dice.random() < 0.15:
        del message["estimate"]
        message |= {"model": dice.choice(MODELS[:3]), "input_tokens": dice.choice((0, 1, 50))}
        if dice.random() < 0.7:
            message["max_output_tokens"] = dice.choice((0, 1, 100, 10**6, -1))
    return message


def settle(w: World) -> Message:
    final = w.dice.random() < 0.7
    message = w.may({"type": "Settle", "hold": _end(w) if final else w.hold()}, labels=labels(w))
    return _from_elsewhere(_used(w, message if final else {**message, "final": False}))


def _end(w: World) -> str:
    hold = w.hold()
    if hold in w.holds:
        w.holds.remove(hold)
        w.ended.append(hold)
    return hold


def cancel_hold(w: World) -> Message:
    return {"type": "CancelHold", "hold": _end(w)}


def heartbeat(w: World) -> Message:
    match w.dice.randint(0, 2):
        case 0:
            ttl = number(w.dice, w.temper, (1, "0.001", 300), (10**7, *LARGE_SECONDS))
            return w.may({"type": "Heartbeat", "hold": w.hold()}, ttl_seconds=ttl, amount=w.used())
        case 1:
            task = w.task()
            return w.may({"type": "Heartbeat", "task": task}, lease="@lease")
    return {"type": "Heartbeat", "agent": w.agent()}
