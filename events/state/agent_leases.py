"""Leases of agents: an account with one closes when no message came by it, or from below it, for as long as it says.

No event says that a lease was extended: a message that is recorded says it by itself, and costs one comparison where
there is no lease. When a lease could be over, the accounts with leases below it are asked for newer messages. So a
timer fires about once per lease and its time, however many messages there are.
"""

import datetime as dt
import heapq
from collections.abc import Iterator

from tallystick.events.catalog.event import EPOCH
from tallystick.events.state.accounts import Account
from tallystick.events.state.calendar import NEVER, later

_MILLISECOND = dt.timedelta(milliseconds=1)


class AgentLeases:
    """The open accounts with leases. ``begun_at`` is when all leases began anew: after a pause, or an outage."""

    __slots__ = ("_below", "_due", "_known", "_listed", "begun_at")

    def __init__(self) -> None:
        self.begun_at = EPOCH
        self._listed: dict[int, Account] = {}
        """By life."""
        self._below: dict[int, dict[int, Account]] = {}
        """By life, the accounts with leases whose nearest account with a lease above them it is."""
        self._known: dict[int, dt.datetime] = {}
        """By life, a message from below accounts with leases of their own that was found: later ones may have come."""
        self._due: list[tuple[dt.datetime, int]] = []
        """A heap of times and lives: no later than the end of the lease, and often earlier, for messages leave it."""

    def __bool__(self) -> bool:
        return bool(self._listed)

    def __contains__(self, account: Account) -> bool:
        return account.life in self._listed

    def list_account(self, account: Account) -> None:
        """An account with a lease has opened, or was loaded after those above it."""
        self._listed[account.life] = account
        above = _above(account)
        if above is not None:
            self._below.setdefault(above.life, {})[account.life] = account
        heapq.heappush(self._due, (self._own_end(account), account.life))

    def unlist_account(self, account: Account) -> None:
        """An account with a lease is about to close; those below it have closed. That it was heard stays known to
        the one above it.
        """
        del self._listed[account.life]
        self._known.pop(account.life, None)
        above = _above(account)
        if above is not None:
            above.heard_at = max(above.heard_at, account.heard_at)
            below = self._below[above.life]
            del below[account.life]
            if not below:
                del self._below[above.life]
        while self._due and self._due[0][1] not in self._listed:
            heapq.heappop(self._due)

    def dump(self) -> tuple[dt.datetime, list[tuple[str, dt.datetime, dt.datetime]]]:
        """When the leases began anew; each account with a lease, when it was heard itself, and when its lease ends."""
        accounts = (self._listed[life] for life in sorted(self._listed))
        return self.begun_at, [(account.id, account.heard_at, self.ends_at(account)) for account in accounts]

    def renew(self, at: dt.datetime) -> None:
        """Each lease has its whole time from ``at`` on."""
        self.begun_at = at

    def due_at(self) -> dt.datetime:
        """When a lease could end next."""
        return self._due[0][0] if self._due else NEVER

    def look(self, now: dt.datetime) -> None:
        """Find which leases are over by ``now``, and when; the timers of those that were heard since move on.

        What is known of timers is no state: whenever it is looked at, the same leases end.
        """
        over: list[tuple[dt.datetime, int]] = []
        while self._due and self._due[0][0] <= now:
            life = heapq.heappop(self._due)[1]
            account = self._listed.get(life)
            if account is None:
                continue
            ends_at = self._end_after(account, now)
            if ends_at > now:
                heapq.heappush(self._due, (ends_at, life))
            else:
                over.append((self.ends_at(account), life))
        for entry in over:
            heapq.heappush(self._due, entry)

    def first(self) -> Account:
        """The account whose lease ends next; of several, the one that was opened first."""
        return self._listed[self._due[0][1]]

    def ends_at(self, account: Account) -> dt.datetime:
        """When a lease ends, if no more messages come."""
        latest = self._own_end(account)
        for below in self._all_below(account):
            latest = max(latest, self._end(account, below.heard_at))
        return latest

    def _end_after(self, account: Account, due: dt.datetime) -> dt.datetime:
        """When a lease ends; where that is behind ``due``, an end that is no later than the true one will do."""
        ends_at = self._own_end(account)
        known = self._known.get(account.life)
        if known is not None:
            ends_at = max(ends_at, self._end(account, known))
        if ends_at > due:
            return ends_at
        for below in self._all_below(account):
            heard_at = max(below.heard_at, self._known.get(below.life, below.heard_at))
            if self._end(account, heard_at) > due:
                self._keep(below, account, heard_at)
                return self._end(account, heard_at)
        return ends_at

    def _keep(self, at: Account, top: Account, heard_at: dt.datetime) -> None:
        """All accounts with leases between the one that was heard and ``top`` know it, and need not look again."""
        above: Account | None = at
        while above is not None:
            self._known[above.life] = max(heard_at, self._known.get(above.life, heard_at))
            if above is top:
                return
            above = _above(above)

    def _all_below(self, account: Account) -> Iterator[Account]:
        accounts = list(self._below.get(account.life, {}).values())
        while accounts:
            below = accounts.pop()
            yield below
            accounts += self._below.get(below.life, {}).values()

    def _own_end(self, account: Account) -> dt.datetime:
        ends_at = self._end(account, account.heard_at)
        return max(ends_at, _moment(account.counts_until)) if account.counts_until else ends_at

    def heard_at(self, account: Account) -> dt.datetime:
        """When the last message came by an account, or from below it, or from when on it is as if one had."""
        heard_at = max((account.heard_at, *(below.heard_at for below in self._all_below(account))))
        return max(heard_at, self.begun_at)

    def _end(self, account: Account, heard_at: dt.datetime) -> dt.datetime:
        return later(max(heard_at, self.begun_at), account.terms.lease_ms * _MILLISECOND)


def _moment(at: int) -> dt.datetime:
    """Microseconds since 1970 as a time; the end of the calendar where it is beyond."""
    return later(EPOCH, dt.timedelta(microseconds=at))


def _above(account: Account) -> Account | None:
    """The nearest account above with a lease."""
    return None if account.parent is None else account.parent.leased


def hear(account: Account, at: dt.datetime) -> None:
    """A message came by an account: the lease that it is under lasts longer. Of several messages that are applied
    together, the last one need not be the newest.
    """
    leased = account.leased
    if leased is not None and at > leased.heard_at:
        leased.heard_at = at
