"""Which kinds of events a webhook may select: those of the catalog, by their stored names without the version."""

from typing import Final

from tallystick.config.errors import did_you_mean, nearest, shown
from tallystick.config.settings import Config
from tallystick.events.catalog import EVENT_BY_NAME


def kind_of(name: str) -> str:
    """The kind of an event by its stored name: ``alert-raised`` of ``alert-raised.v1``."""
    return name.rpartition(".")[0]


KINDS: Final = frozenset(map(kind_of, EVENT_BY_NAME))


def unknown_kind(config: Config) -> str | None:
    """What is wrong with the kinds that webhooks select, in words; None where nothing is."""
    for name, hook in config.webhooks.items():
        for place, kind in enumerate(hook.kinds):
            if kind not in KINDS:
                hint = did_you_mean(nearest(kind, KINDS))
                allowed = "a kind of event, such as alert-raised (docs/reference/events.md lists all)"
                return f"webhooks.{name}.kinds[{place}]: found {shown(kind)}, allowed is {allowed}{hint}"
    return None
