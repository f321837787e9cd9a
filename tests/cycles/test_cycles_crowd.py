"""64 clients reserve at once over HTTP: never more than every level has, and each key is carried out once."""

import threading
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.cycles import ACTION, CENT, USD
from tests.support.serving import Client, Served

CLIENTS, ASKS, AGENTS = 64, 4, 4
TENANT_HAS, AGENT_HAS = 100, 40
"""Cents, and so many reservations: the agents' budgets together are more than that of their tenant."""
SECONDS = 120


class Crowd:
    """What clients were answered, each on a thread and a connection of its own."""

    def __init__(self, port: int) -> None:
        self._port, self._lock = port, threading.Lock()
        self.granted: dict[str, int] = {}
        self.refused: Counter[str] = Counter()
        self.failed: list[object] = []

    def reserve(self, number: int) -> None:
        client = Client(self._port)
        for turn in range(ASKS):
            agent = (number + turn) % AGENTS
            body = {"subject": {"tenant": "acme", "agent": str(agent)}, "action": ACTION}
            body |= {"idempotency_key": f"{number}-{turn}", "estimate": {"unit": USD, "amount": CENT}}
            answers = [client.post("/cycles/v1/reservations", body) for _ in range(2)]
            with self._lock:
                if answers[0].status == 200:
                    ids = {answer.json.get("reservation_id") for answer in answers}
                    self.granted[answers[0].json["reservation_id"]] = agent
                    self.failed += [] if len(ids) == 1 else [answers]
                elif answers[0].status == 409:
                    self.refused[answers[0].json["error"]] += 1
                else:
                    self.failed.append(answers)
        client.close()

    def commit(self, number: int) -> None:
        """Four commit each reservation, under one key: it is booked once."""
        client = Client(self._port)
        for id in list(self.granted)[number % 16 :: 16]:
            body = {"idempotency_key": "c", "actual": {"unit": USD, "amount": CENT}}
            answer = client.post(f"/cycles/v1/reservations/{id}/commit", body)
            if answer.status != 200:
                self.failed.append(answer)
        client.close()

    def all_at_once(self, what: Any) -> None:
        threads = [threading.Thread(target=what, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)


def balances(client: Client) -> dict[str, dict[str, int]]:
    found = client.call("GET", "/cycles/v1/balances?tenant=acme").json["balances"]
    names = ("allocated", "spent", "reserved", "remaining")
    return {one["scope_path"]: {name: one[name]["amount"] // CENT for name in names} for one in found}


def test_64_clients_are_never_granted_more_than_any_level_has(tmp_path: Path) -> None:
    server = Served(tmp_path)
    client = server.client()
    accounts = [("tenant:acme", None, TENANT_HAS)]
    accounts += [(f"tenant:acme/agent:{n}", "tenant:acme", AGENT_HAS) for n in range(AGENTS)]
    for agent, parent, has in accounts:
        limits = [{"window": "total", "max": {"cost_usd": f"{has / 100:.2f}"}}]
        message = {"agent": agent, "limits": limits, **({"parent": parent} if parent else {})}
        assert client.post("/v1/allocate-budget", message).status == 200
    crowd = Crowd(server.port)
    crowd.all_at_once(crowd.reserve)
    assert not crowd.failed
    assert len(crowd.granted) == TENANT_HAS
    assert max(Counter(crowd.granted.values()).values()) <= AGENT_HAS
    assert set(crowd.refused) == {"BUDGET_EXCEEDED"}
    assert balances(client)["tenant:acme"] == {"allocated": 100, "spent": 0, "reserved": 100, "remaining": 0}
    crowd.all_at_once(crowd.commit)
    assert not crowd.failed
    assert balances(client)["tenant:acme"] == {"allocated": 100, "spent": 100, "reserved": 0, "remaining": 0}
    client.close()
    assert server.stop() == 0
