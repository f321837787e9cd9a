"""What is shown of a campaign: a live screen on a terminal, a line now and then in a file, nothing to a program."""

import time
from types import TracebackType
from typing import Final, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from tallystick.config.amounts import TOKENS
from tallystick.demo import panels
from tallystick.demo.agent import Outcome
from tallystick.demo.campaign import STARTS_AT, Campaign
from tallystick.demo.tally import Frame, Tally

FRAME_SECONDS: Final = 0.1
LINE_SECONDS: Final = 2.0
LATEST: Final = 300
"""Of how many answers the p99 on the screen is."""
SIDE_BY_SIDE: Final = 132
"""From this width on, the events stand beside the agents."""
NARROWEST: Final = 60


def percentile(values: "list[float]", part: float) -> float:
    """The value that ``part`` of them do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else 0.0


class Watcher(Protocol):
    """Looks at the campaign between two messages; it is entered before the first and left after the last. ``over``: all
    runs have ended, and the fleet is still served.
    """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    def look(self, campaign: Campaign) -> None: ...
    def over(self) -> None: ...


class Quiet:
    """For a program: shows nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

    def look(self, campaign: Campaign) -> None: ...

    def over(self) -> None: ...


class Lines(Quiet):
    """For a file or a pipe: how far it is, every two seconds."""

    def __init__(self, console: Console, tally: Tally, steps: int) -> None:
        self._console = console
        self._tally = tally
        self._steps = steps
        self._next = time.monotonic() + LINE_SECONDS

    def look(self, campaign: Campaign) -> None:
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_SECONDS
        frame = self._tally.frame()
        settled, runs = campaign.steps_settled, len(campaign.agents)
        gone = runs - campaign.count(Outcome.RUNNING)
        pressure, response = frame.pressure
        self._console.print(
            f"{settled * 100 // max(1, self._steps):>3} %  steps {settled:,} of {self._steps:,}  runs {gone} of {runs}"
            f"  slots {len(frame.tasks.running)}, {len(frame.tasks.waiting)} wait  pressure {pressure:.2f}"
            f"  response {response}",
            soft_wrap=True,
        )

    def over(self) -> None:
        self._console.print("all runs have ended; the dashboard shows the whole past until Ctrl-C", soft_wrap=True)


def _titled(title: str) -> Rule:
    return Rule(title, align="left", style="grey37")


class Screen:
    """For a person: drawn ten times a second, as large as the terminal is."""

    def __init__(self, console: Console, tally: Tally, title: str, speed: float | None) -> None:
        self._console = console
        self._tally = tally
        self._title = title
        self._pace = "as fast as it goes" if speed is None else f"{speed:.3g}× time"
        self._live = Live(console=console, screen=True, auto_refresh=False, transient=True)
        self._next = 0.0

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, traceback)

    def over(self) -> None: ...

    def look(self, campaign: Campaign) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + FRAME_SECONDS
        self._live.update(self.drawn(campaign), refresh=True)

    def drawn(self, campaign: Campaign) -> RenderableType:
        """The whole screen, as many lines as the terminal has."""
        frame = self._tally.frame()
        width, height = max(NARROWEST, self._console.width), self._console.height
        top = self._top(campaign, frame, width)
        bottom = self._bottom(campaign, width)
        left = height - len(top) - len(bottom)
        return Group(*top, *self._middle(campaign, frame, left, width), *bottom)

    def _top(self, campaign: Campaign, frame: Frame, width: int) -> list[RenderableType]:
        clock = (STARTS_AT.hour * 3600 + STARTS_AT.minute * 60) + campaign.now_ms // 1000
        right = f"{clock // 3600:02}:{clock // 60 % 60:02}:{clock % 60:02} · {self._pace}"
        head = Text().append("tallystick ", style="bold green").append("demo · ", style="bold")
        head.append(self._title)
        head.truncate(width - len(right) - 2, overflow="ellipsis", pad=True)
        head.append("  " + right, style="dim")
        balances = panels.balances(frame.status.fleet)
        lines: list[RenderableType] = [head]
        lines += [panels.balance_line(balance, width) for balance in balances]
        if balances:
            # The account of a task limits the first of them.
            lines.append(panels.legend_line(balances[0], width))
        lines.append(self._state(campaign, frame, width))
        lines.append(panels.day_line(frame.day, width))
        lines.append(panels.slots_line(frame, self._tally.kinds["TaskPreempted"], width))
        return lines

    def _state(self, campaign: Campaign, frame: Frame, width: int) -> Text:
        pressure, response = frame.pressure
        line = Text("fleet  ", style="bold").append(f"pressure {pressure:.2f} → ", style="default")
        calm = "at ease" if response == "none" else response.replace("_", " ")
        line.append(calm, style=panels.ACTION_STYLES[response])
        counts = (
            (len(frame.status.agents), "at work", "default"),
            (campaign.count(Outcome.FINISHED), "finished", "green"),
            (campaign.count(Outcome.STOPPED) + campaign.count(Outcome.REFUSED), "given up", "red"),
        )
        for count, what, style in counts:
            line.append("  ·  ", style="dim").append(f"{count} {what}", style=style if count else "default")
        line.truncate(width, overflow="ellipsis")
        return line

    def _middle(self, campaign: Campaign, frame: Frame, height: int, width: int) -> list[RenderableType]:
        """Agents, queue and events, stacked or the events beside, filling ``height`` lines exactly."""
        beside = width >= SIDE_BY_SIDE
        half = width // 2 - 1 if beside else width
        queue_rows = max(2, height // 4 - 1)
        # A line above each of the two, or three, and the names of the columns above the agents.
        rows = max(2, height - queue_rows - 3 if beside else (height - queue_rows - 4) * 11 // 20)
        news_rows = height - 1 if beside else height - queue_rows - 4 - rows
        upper = [*self._agents(campaign, frame, rows, half), *self._queue(campaign, frame, queue_rows, half)]
        news = panels.news_lines(list(self._tally.news), news_rows, width - half - 2 if beside else width)
        lower: list[RenderableType] = [_titled("what happens"), *news, *[Text()] * (news_rows - len(news))]
        if not beside:
            return [*upper, *lower]
        both = Table.grid(padding=(0, 1))
        both.add_column(width=half)
        both.add_column(width=width - half - 1)
        both.add_row(Group(*upper), Group(*lower))
        return [both]

    def _agents(self, campaign: Campaign, frame: Frame, rows: int, width: int) -> list[RenderableType]:
        open_rows = frame.status.agents
        agents = [(agent, open_rows[agent.run.id]) for agent in campaign.agents if agent.run.id in open_rows]
        shown = min(rows, len(agents))
        title = f"tasks at work, {shown} of {len(agents)}"
        return [_titled(title), panels.agents_table(agents, rows, width), *[Text()] * (rows - shown)]

    def _queue(self, campaign: Campaign, frame: Frame, rows: int, width: int) -> list[RenderableType]:
        waiting = len(frame.tasks.waiting)
        needs = {agent.run.id: agent.grant[TOKENS] or 0 for agent in campaign.agents}
        pool = frame.status.fleet.pool.tokens
        shown = min(rows, waiting)
        lines: list[RenderableType] = [_titled(f"queue, {shown} of {waiting}")]
        if shown:
            lines.append(panels.queue_table(frame.tasks, needs, pool, rows, width))
        return [*lines, *[Text()] * (rows - shown)]

    def _bottom(self, campaign: Campaign, width: int) -> list[RenderableType]:
        steps, settled = sum(len(agent.run.steps) for agent in campaign.agents), campaign.steps_settled
        runs = len(campaign.agents)
        gone = runs - campaign.count(Outcome.RUNNING)
        text = f"{settled:,} of {steps:,} steps · {gone} of {runs} runs"
        rate = self._tally.events / max(campaign.seconds, 0.001)
        p99 = percentile(campaign.took[-LATEST:], 0.99) * 1000
        text_of_log = Text(
            f"{self._tally.events:,} events stored, {rate:,.0f} a second · p99 of the answers {p99:.1f} ms"
        )
        text_of_log.append(" · Ctrl-C ends it", style="dim")
        text_of_log.truncate(width, overflow="ellipsis")
        return [panels.progress_line(settled, steps, text, width), text_of_log]
