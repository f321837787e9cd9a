"""``tallystick completion``: what a shell needs to complete commands, options, and names of agents and tasks."""

import os
from typing import get_args

import click
from click.shell_completion import CompletionItem, get_completion_class

from tallystick.cli.common import DEFAULT_STORE
from tallystick.projections.store.names import What, names_of

SHELLS = ("bash", "zsh", "fish")
_VARIABLE = "_TALLYSTICK_COMPLETE"
"""See `main.COMPLETE_VARIABLE`."""


@click.command(short_help="Print a script that completes commands in a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options, and the names of agents and tasks of the store.

    \b
    Examples:
      eval "$(tallystick completion bash)"          in ~/.bashrc
      eval "$(tallystick completion zsh)"           in ~/.zshrc
      tallystick completion fish > ~/.config/fish/completions/tallystick.fish
    """
    found = get_completion_class(shell)
    assert found is not None, "click has it"
    click.echo(found(ctx.find_root().command, {}, "tallystick", _VARIABLE).source())


def agent_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The agents of the store that is named so far."""
    return _items(ctx, "agents", incomplete)


def task_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The tasks of the store that is named so far."""
    return _items(ctx, "tasks", incomplete)


def all_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The agents and the tasks of the store that is named so far."""
    items = {item.value: item for what in get_args(What) for item in _items(ctx, what, incomplete)}
    return [items[name] for name in sorted(items)]


def _items(ctx: click.Context, what: What, incomplete: str) -> list[CompletionItem]:
    url = ctx.params.get("store_url") or os.environ.get("TALLYSTICK_STORE") or DEFAULT_STORE
    return [CompletionItem(name) for name in names_of(str(url), what, incomplete)]
