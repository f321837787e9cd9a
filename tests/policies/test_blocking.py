"""How many tasks wait for each task."""

from tallystick.actors.policies.blocking import Blocking
from tests.policies.machine import Job, Machine, config_of


def test_open_tasks_that_directly_depend_on_a_task_are_counted() -> None:
    blocking = Blocking()
    assert blocking.open("a") == []
    assert blocking.open("b", ["a"]) == ["a"]
    assert blocking.open("c", ["a", "b"]) == ["a", "b"]
    assert [blocking.blocked(task) for task in "abc"] == [2, 1, 0]
    assert len(blocking) == 3


def test_a_task_named_twice_is_one_dependency_and_one_that_is_finished_is_none() -> None:
    blocking = Blocking()
    blocking.open("a")
    blocking.open("b", ["a", "a"])
    assert blocking.blocked("a") == 1
    assert blocking.close("a") == []
    assert blocking.open("c", ["a"]) == []


def test_a_dependent_that_is_cancelled_no_longer_counts() -> None:
    blocking = Blocking()
    blocking.open("a")
    blocking.open("b", ["a"])
    assert blocking.close("b") == ["a"]
    assert (blocking.blocked("a"), len(blocking)) == (0, 1)


def test_the_number_that_a_task_names_counts_where_it_is_larger() -> None:
    blocking = Blocking()
    blocking.open("a", blocks=2)
    blocking.open("b", ["a"])
    assert blocking.blocked("a") == 2
    for task in "cd":
        blocking.open(task, ["a"])
    assert blocking.blocked("a") == 3


def test_what_blocks_others_goes_first_and_they_follow_when_it_is_done() -> None:
    jobs = [
        Job("running"),
        Job("plain", arrives=1),
        Job("base", arrives=1),
        Job("on top", arrives=2, depends_on=("base",)),
    ]
    machine = Machine(config_of(total=1), jobs).run()
    assert [start.task for start in machine.starts] == ["running", "base", "plain", "on top"]
    assert machine.queued["on top"] == machine.done["base"], "it waits from when its dependencies were met"
