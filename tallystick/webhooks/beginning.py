"""Where a webhook begins of which nothing is kept: at the event by which it came into force."""

from tallystick.config.loader import restore
from tallystick.events.catalog import ConfigLoaded
from tallystick.events.log.reading import event_of
from tallystick.events.log.store import Store


def beginning_of(name: str, store: Store) -> int:
    """The position of the event by which a webhook came into force last, as the log says; 0 where it never did.

    It reads the whole log, once in the life of a webhook.

    Raises:
        StoreError: the store could not be read.
    """
    began, is_there = 0, False
    for record in store.read():
        if not record.name.startswith("config-loaded."):
            continue
        event = event_of(record)
        assert isinstance(event, ConfigLoaded), "the name says so"
        was_there, is_there = is_there, name in restore(event.config).webhooks
        if is_there and not was_there:
            began = record.position
    return began
