"""One demonstration from beginning to end: the fleet is opened, the campaign runs, the store is read again."""

import threading

from tallystick.config.settings import Config
from tallystick.demo.campaign import BY, STARTS_AT, Campaign, Starts
from tallystick.demo.screen import Watcher
from tallystick.demo.served import ServedFleet
from tallystick.demo.stage import Stage
from tallystick.demo.summary import Summary, summarize
from tallystick.demo.tally import Tally
from tallystick.demo.worker import Worker
from tallystick.demo.workload import Workload
from tallystick.events import messages as c
from tallystick.events.log.store import Store, open_store


def run(
    workload: Workload,
    config: Config,
    store: Store,
    speed: float | None,
    watcher: Watcher,
    tally: Tally,
    stop: threading.Event,
    served: ServedFleet | None = None,
) -> Summary:
    """Run a workload on an empty store, which is closed at the end, until it is over or ``stop`` is set. One that is
    ``served`` is answered for until ``stop`` is set.

    Raises:
        Refused: the fleet answered an obeying agent in a way that it must not.
        Halted, StoreError: the fleet stopped.
    """
    starts = Starts()
    agents = [Worker(run, config, workload.prices) for run in workload.runs]
    try:
        stage = Stage.opened(store, config, workload.prices, STARTS_AT, [tally.note, starts.note])

        def look() -> None:
            watcher.look(campaign)
            if served is not None:
                served.answer(stage, campaign.now)

        campaign = Campaign(stage, agents, starts, speed, look, stop)
        if served is not None:
            stage.publish = served.records.publish
        with watcher:
            campaign.run()
        if served is not None:
            if not stop.is_set():
                watcher.over()
            served.linger(stage, campaign.now, stop)
        (last,) = stage.say([c.GetGlobalStatus(id="look", limit=0)], BY, campaign.now)
    finally:
        if served is not None:
            served.close()
        store.close()
    tally.catch_up()
    if store.url == "memory:":
        return summarize(workload, config, campaign, tally, last["ok"], store)
    again = open_store(store.url)
    try:
        return summarize(workload, config, campaign, tally, last["ok"], again)
    finally:
        again.close()
