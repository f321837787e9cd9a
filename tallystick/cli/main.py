"""``tallystick``: the commands, loaded when they are called, and what becomes of an error: one line, no traceback."""

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from tallystick.actors.errors import Halted, RefusedConfig, Unanswered
from tallystick.cli.exit_codes import WRONG_INPUT
from tallystick.cluster.errors import ClusterError
from tallystick.config.errors import ConfigError, did_you_mean, nearest
from tallystick.config.spelling import half_in
from tallystick.events.log.broken_chain import BrokenChain, NewerLog
from tallystick.events.log.store import NoFleet, StoreError, WriterPresent
from tallystick.wording import one_line

_COMMANDS = {
    "demo": "tallystick.cli.demo:demo",
    "simulate": "tallystick.cli.simulate:simulate",
    "send": "tallystick.cli.send:send",
    "import": "tallystick.cli.import_usage:import_usage",
    "serve": "tallystick.cli.serve:serve",
    "mcp": "tallystick.cli.mcp:mcp",
    "cluster": "tallystick.cli.cluster:cluster",
    "fleet": "tallystick.cli.fleet:fleet",
    "key": "tallystick.cli.key:key",
    "top": "tallystick.cli.top:top",
    "status": "tallystick.cli.status:status",
    "forecast": "tallystick.cli.forecast:forecast",
    "report": "tallystick.cli.report:report",
    "queue": "tallystick.cli.queue:queue",
    "tasks": "tallystick.cli.tasks:tasks",
    "holds": "tallystick.cli.holds:holds",
    "limits": "tallystick.cli.limits:limits",
    "alerts": "tallystick.cli.alerts:alerts",
    "cost": "tallystick.cli.cost:cost",
    "reconcile": "tallystick.cli.reconcile:reconcile",
    "dashboard": "tallystick.cli.dashboard:dashboard",
    "metrics": "tallystick.cli.metrics:metrics",
    "events": "tallystick.cli.events:events",
    "export": "tallystick.cli.export:export",
    "audit": "tallystick.cli.audit:audit",
    "projections": "tallystick.cli.projections:projections",
    "whatif": "tallystick.cli.whatif:whatif",
    "store": "tallystick.cli.store:store",
    "config": "tallystick.cli.configuration:config",
    "completion": "tallystick.cli.completion:completion",
}
"""In the order in which a newcomer meets them."""

COMPLETE_VARIABLE = "_TALLYSTICK_COMPLETE"
"""How a shell asks what a line can go on with, however the program was called."""
_EXPECTED = (StoreError, BrokenChain, ConfigError, RefusedConfig, Halted, Unanswered, ClusterError, OSError)


class Program(click.Group):
    """The commands by name, and one place where every error becomes one line on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, attribute = _COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        if "structlog" in sys.modules:
            # What a command that only reads loads never logs, and does not wait for the logger's libraries either.
            importlib.import_module("tallystick.cli.program_log").log_plainly()
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0]!r:.60}{_meant(args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run, and exit with 0, 1 (it was tried and did not come out well) or 2 (what was asked makes no sense)."""
        try:
            _check_text(sys.argv[1:] if args is None else args)
            code = super().main(args, prog_name, complete_var or COMPLETE_VARIABLE, standalone_mode=False, **extra)
            sys.stdout.flush()
        except BrokenPipeError:
            # The reader of our output has read enough. Nothing more may be written, not even at the interpreter's end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except click.exceptions.NoArgsIsHelpError as error:
            click.echo(error.format_message(), err=True)
            code = WRONG_INPUT
        except click.ClickException as error:
            _complain(_with_help(error), error.ctx if isinstance(error, click.UsageError) else None)
            code = error.exit_code
        except click.Abort:
            _complain("interrupted", None)
            code = 1
        except _EXPECTED as error:
            _complain(_advised(error), None)
            code = WRONG_INPUT if isinstance(error, ConfigError) else 1
        sys.exit(code if isinstance(code, int) else 0)


def _meant(name: str) -> str:
    """Which command was probably meant: one that is spelled alike, or an order, which is sent."""
    from tallystick.cli.orders import ORDERS  # noqa: PLC0415 - the messages are loaded only where they are asked for

    if name in ORDERS:
        return f"; did you mean 'tallystick send {name}'?"
    return did_you_mean(nearest(name, _COMMANDS))


def _check_text(args: Sequence[str]) -> None:
    """Refuse arguments that are not UTF-8: nothing could be recorded, found or printed under such a text.

    Raises:
        click.UsageError: there is one.
    """
    for number, given in enumerate(args, start=1):
        if half_in(given):
            raise click.UsageError(f"argument {number}: found {given[:60]!a}, allowed is UTF-8")


def _complain(sentence: str, ctx: click.Context | None) -> None:
    where = "tallystick" if ctx is None else ctx.command_path
    click.echo(f"{where}: {one_line(sentence)}", err=True)


def _with_help(error: click.ClickException) -> str:
    """What click says, on one line, with where to read more."""
    message = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        return f"{message.rstrip('.')}; see {error.ctx.command_path} --help"
    return message


def _advised(error: Exception) -> str:
    """An error of ours, with what to do about it."""
    match error:
        case NoFleet():
            return f"{error}; name another by --store, or begin one (tallystick send --help)"
        case WriterPresent():
            return f"{error}; stop that process, or wait until it is done"
        case NewerLog():
            return str(error)
        case BrokenChain():
            return f"the log is broken at {error}; see tallystick audit verify, and restore a copy of the store"
        case RefusedConfig():
            return f"the configuration cannot be put in force: {error}"
        case Halted():
            return f"the fleet has stopped: {error}; nothing of this was recorded, start it again"
        case OSError() if error.filename is not None:
            return f"{error.filename}: {error.strerror}"
    return str(error)


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tallystick", prog_name="tallystick", message="%(prog)s %(version)s")
def main() -> None:
    """Budgets for fleets of LLM agents: who may spend what, who spent it, and why it was decided so.

    \b
    Examples:
      tallystick demo
      tallystick send '{"type": "AllocateBudget", "agent": "a-1", "budget": {"tokens": 50000}}'
      tallystick status
      tallystick audit verify
    """
