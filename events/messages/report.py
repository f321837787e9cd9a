"""Questions about what was achieved and what is expected."""

from typing import ClassVar

from tallystick.events.messages.command import Command, Name


class GenerateReport(Command):
    """What became of a workflow: its agents, how they used what they were given, and what to do better."""

    group: ClassVar[str] = "report"
    query: ClassVar[bool] = True
    workflow: Name


class Forecast(Command):
    """How long an agent's budget will last, and what the agent will have used at its end."""

    group: ClassVar[str] = "report"
    query: ClassVar[bool] = True
    agent: Name


class GetEfficiency(Command):
    """What an agent gets done with what it uses."""

    group: ClassVar[str] = "report"
    query: ClassVar[bool] = True
    agent: Name
