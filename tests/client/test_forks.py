"""A client that a process has made is used by its forks: with ids and connections of their own."""

import os
import sys

import pytest

from tallystick import Client

pytestmark = pytest.mark.skipif(not hasattr(os, "fork") or sys.platform == "darwin", reason="forks are of POSIX")


@pytest.mark.filterwarnings("ignore:.*use of fork\\(\\) may lead to deadlocks:DeprecationWarning")
def test_what_forks_report_counts_each_time(fleet: Client) -> None:
    with fleet.agent("ann", tokens=1_000) as agent:
        agent.report(tokens=1)
        children = []
        for _ in range(4):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    for _ in range(5):
                        agent.report(tokens=1)
                        with agent.call(tokens=2) as call:
                            call.done(tokens=1)
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
        assert agent.report(tokens=1).remaining.tokens == 1_000 - 2 - 4 * 5 * 2
