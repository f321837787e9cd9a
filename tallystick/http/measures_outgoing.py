"""What leaves a fleet by itself, in the text format of Prometheus."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tallystick.webhooks.webhooks import WebhookFigures

_LINES: Final[Sequence[tuple[str, str, str, "Callable[[WebhookFigures, int], int]"]]] = (
    ("position", "counter", "Up to where the log was accepted.", lambda one, _: one.progress.position),
    (
        "behind_events",
        "gauge",
        "Events of the log behind that.",
        lambda one, newest: max(0, newest - one.progress.position),
    ),
    ("events_total", "counter", "Events that were accepted since the fleet was opened.", lambda one, _: one.accepted),
    ("failures_total", "counter", "Requests that were not accepted.", lambda one, _: one.failures),
    (
        "passed_over_total",
        "counter",
        "Events that were passed over because they were refused.",
        lambda one, _: one.progress.passed_over,
    ),
    ("accepts", "gauge", "0 where nothing is accepted now.", lambda one, _: int(one.progress.problem is None)),
)


def webhook_lines(webhooks: "Sequence[WebhookFigures]", newest: int | None) -> str:
    """How each webhook stands, as lines; ``newest`` is the newest position of the log, None where that is not known."""
    return "".join(f"{line}\n" for line in _lines(webhooks, newest or 0))


def _lines(webhooks: "Sequence[WebhookFigures]", newest: int) -> Iterator[str]:
    for name, kind, text, value in _LINES:
        yield f"# HELP tallystick_webhook_{name} {text}"
        yield f"# TYPE tallystick_webhook_{name} {kind}"
        for one in webhooks:
            yield f'tallystick_webhook_{name}{{webhook="{label(one.name)}"}} {value(one, newest)}'


def label(text: str) -> str:
    """A text as the value of a label."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
