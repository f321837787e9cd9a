"""Supervision: a specialist that fails is replaced, unless it fails too often."""

import datetime as dt
import logging

import structlog

CRASHES_MAX = 3
CRASHES_WITHIN = dt.timedelta(minutes=10)
"""A specialist that fails more often than this is not replaced: its error is the same each time."""

log = structlog.wrap_logger(logging.getLogger("tallystick.fleet"))


class Crashes:
    """The recent failures of each specialist."""

    def __init__(self) -> None:
        self._at: dict[str, list[dt.datetime]] = {}

    def note(self, name: str, reason: str, now: dt.datetime) -> bool:
        """Log a failure of the specialist ``name``; whether it is to be replaced."""
        lately = [at for at in self._at.get(name, []) if now - at < CRASHES_WITHIN]
        self._at[name] = [*lately, now]
        log.error("specialist_died", who=name, reason=reason, times=len(lately) + 1)
        if self.is_given_up(name):
            log.critical("specialist_given_up", who=name, reason=reason)
            return False
        return True

    def is_given_up(self, name: str) -> bool:
        """Whether a specialist has failed too often to be replaced."""
        return len(self._at.get(name, ())) > CRASHES_MAX
