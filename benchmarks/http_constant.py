"""The same server in front of a fleet that does nothing: it reads a report, and answers what was answered once."""

import sys
from collections.abc import Sequence
from typing import Any

from tallystick.actors.runtime.intake import Asker
from tallystick.actors.runtime.log_feed import LogFeed
from tallystick.actors.runtime.pending import ANSWER_SECONDS
from tallystick.demo.served import NoKeys
from tallystick.events.log.codec import Message, read_message
from tallystick.events.log.store_memory import MemoryStore
from tallystick.http import server

ANSWER = {
    "ok": {
        "agent": "agent-000042",
        "percentage": 0.000018,
        "status": "green",
        "action": "continue",
        "throttle_rate": 1.0,
        "wait_seconds": 0,
        "decided_by": "level",
        "remaining": {"tokens": 999_981_724, "cost_usd": "9999.56"},
    }
}


class Constant:
    """What a server needs of a fleet, without one."""

    log_time = False
    halted = None
    parent_answered = None
    webhook_figures = ()

    def __init__(self) -> None:
        self.store, self.access = MemoryStore(), NoKeys()
        self.records = LogFeed(self.store)

    async def ask_async(
        self,
        message: Message | Sequence[Message],
        by: str = "local",
        timeout: float = ANSWER_SECONDS,  # noqa: ASYNC109 - as a fleet has it
        *,
        asker: Asker | None = None,
    ) -> Any:
        read_message(message, lambda: "id")  # type: ignore[arg-type]  # the benchmark sends one at a time
        return ANSWER


def main() -> None:
    with server.listen("127.0.0.1", 0) as listening:
        server.log_requests()
        sys.stdout.write(f"serving a constant at http://127.0.0.1:{listening.getsockname()[1]}\n")
        sys.stdout.flush()
        server.serve(Constant(), listening, ["127.0.0.1"])


if __name__ == "__main__":
    main()
