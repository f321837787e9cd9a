"""One demonstration from beginning to end: the house is opened, the campaign runs, the store is read again."""

import threading
from typing import Any

from tallystick.actors.clock import ManualClock
from tallystick.config.settings import Config
from tallystick.demo.campaign import STARTS_AT, Campaign, Starts
from tallystick.demo.screen import Watcher
from tallystick.demo.summary import Summary, summarize
from tallystick.demo.tally import Tally
from tallystick.demo.worker import Worker
from tallystick.demo.workload import Workload
from tallystick.door import Fleet
from tallystick.events.store import Store, open_store


def run(
    workload: Workload,
    config: Config,
    store: Store,
    speed: float | None,
    watcher: Watcher,
    tally: Tally,
    stop: threading.Event,
) -> Summary:
    """Run a workload on an empty store, which is closed at the end, until it is over or somebody sets ``stop``.

    Raises:
        Refused: the house answered an obeying agent in a way that it must not.
        Halted, StoreError: the house stopped.
    """
    clock = ManualClock(STARTS_AT)
    agents = [Worker(run, config, workload.prices) for run in workload.runs]
    starts = Starts()
    with Fleet.open(store, config, workload.prices, clock=clock, followers=[tally.note, starts.note]) as fleet:

        def ask(message: dict[str, Any]) -> Any:
            return fleet.ask(message)

        campaign = Campaign(fleet, clock, agents, starts, speed, lambda: watcher.look(campaign, ask), stop)
        with watcher:
            campaign.run()
        status = ask({"type": "GetGlobalStatus", "limit": 0})["ok"]
    tally.catch_up()
    if store.url == "memory:":
        return summarize(workload, config, campaign, tally, status, store)
    again = open_store(store.url)
    try:
        return summarize(workload, config, campaign, tally, status, again)
    finally:
        again.close()
