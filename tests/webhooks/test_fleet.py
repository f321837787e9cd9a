"""A fleet sends to the webhooks that its configuration names, now or later, and says how they stand."""

import datetime as dt
import json
from pathlib import Path

import pytest

from tallystick import Fleet
from tallystick.actors.errors import RefusedConfig
from tallystick.actors.runtime.clock import ManualClock
from tallystick.cli.main import main
from tallystick.http.measures_outgoing import webhook_lines
from tallystick.webhooks.progress import KeptInFile, Progress
from tallystick.webhooks.webhooks import WebhookFigures
from tests.support.core import START
from tests.support.programs import until
from tests.support.webhooks import VARIABLE, Answering, named


def test_a_fleet_that_is_closed_at_once_has_sent_what_it_recorded(receiver: Answering, tmp_path: Path) -> None:
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        position = fleet.position
    assert receiver.accepted == list(range(1, position + 1))


def test_a_receiver_that_is_away_delays_a_closing_by_one_attempt(receiver: Answering, tmp_path: Path) -> None:
    receiver.answer = lambda request: (503, {"retry-after": "3600"})
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver)):
        pass
    assert len(receiver.got) == 1
    receiver.answer = lambda request: 204
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db") as fleet:
        position = fleet.position
    assert receiver.accepted == list(range(1, position + 1))


def test_a_fleet_has_something_to_do_until_all_is_accepted(receiver: Answering, tmp_path: Path) -> None:
    accepts = False
    receiver.answer = lambda request: 204 if accepts else 429
    with Fleet.open(f"sqlite:///{tmp_path}/fleet.db", named(receiver)) as fleet:
        until(lambda: len(receiver.got) >= 1)
        due_at = fleet.due_at
        assert due_at is not None
        assert due_at <= dt.datetime.now(dt.UTC)
        accepts = True
        until(lambda: fleet.due_at is None or fleet.due_at > dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1))


def test_nothing_leaves_a_fleet_with_a_clock_of_its_own(receiver: Answering) -> None:
    with Fleet.open("memory:", named(receiver), clock=ManualClock(START)) as fleet:
        fleet.ask({"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 10}})
        assert fleet.webhook_figures == []
    assert receiver.got == []


def test_a_kind_that_does_not_exist_is_refused_by_its_name(receiver: Answering, tmp_path: Path) -> None:
    words = r"webhooks.audit.kinds\[0\]: found 'alert-raisd', allowed is a kind of event.*did you mean 'alert-raised'"
    with pytest.raises(RefusedConfig, match=words):
        Fleet.open("memory:", named(receiver, kinds=["alert-raisd"]))


def test_a_check_of_the_file_says_what_is_wrong_with_a_webhook(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    file = tmp_path / "limits.yml"
    hook = f'{{url: "https://example.com/", secret: "${{{VARIABLE}}}"'
    file.write_text(f"webhooks: {{audit: {hook}}}}}\n")
    with pytest.raises(SystemExit):
        main(["config", "check", str(file)])
    warned = capsys.readouterr().err
    assert f"webhooks.audit.secret: nothing can be signed from here: the variable {VARIABLE} is not set" in warned
    file.write_text(f"webhooks: {{audit: {hook}, kinds: [usage]}}}}\n")
    with pytest.raises(SystemExit):
        main(["config", "check", str(file)])
    assert f"{file}: webhooks.audit.kinds[0]: found 'usage', allowed is a kind of event" in capsys.readouterr().err


def test_a_message_cannot_say_where_events_go(receiver: Answering) -> None:
    with Fleet.open("memory:", clock=ManualClock(START)) as fleet:
        refused = fleet.ask({"type": "LoadConfig", "config": named(receiver)})
        assert refused["error"]["code"] == "local_only"


def test_status_says_how_far_each_is_and_what_is_wrong(
    receiver: Answering, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    receiver.answer = lambda request: 503
    with Fleet.open(url, named(receiver)):
        until(lambda: len(receiver.got) >= 1)
    with pytest.raises(SystemExit):
        main(["status", "--store", url, "--json"])
    (shown,) = json.loads(capsys.readouterr().out)["webhooks"]
    assert shown["problem"] == "it answered 503"
    assert shown["position"] == 0
    assert shown["behind"] > 0
    with pytest.raises(SystemExit):
        main(["status", "--store", url])
    assert "audit: accepted up to position 0" in capsys.readouterr().out


def test_a_file_that_is_damaged_is_said_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "fleet.db.webhooks"
    KeptInFile(file).keep("audit", Progress(7, "0123456789ab"))
    assert KeptInFile(file).load() == {"audit": Progress(7, "0123456789ab")}
    file.write_text("{")
    with pytest.raises(Exception, match="is damaged"):
        KeptInFile(file).load()


def test_the_metrics_name_each_webhook_whatever_it_is_called() -> None:
    figures = [WebhookFigures('a "b"\\', Progress(7, "x", 2, 5, "away"), 4, 3)]
    lines = webhook_lines(figures, 10).splitlines()
    values = dict(line.removeprefix("tallystick_webhook_").rsplit(" ", 1) for line in lines if line[0] != "#")
    name = '{webhook="a \\"b\\"\\\\"}'
    expected = {"position": 7, "behind_events": 3, "events_total": 4, "failures_total": 3}
    expected |= {"passed_over_total": 2, "accepts": 0}
    assert values == {f"{key}{name}": str(value) for key, value in expected.items()}
    assert all(line.startswith("#") for line in webhook_lines([], 10).splitlines())
