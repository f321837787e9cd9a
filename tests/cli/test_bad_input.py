"""What is typed wrong is answered in one line: what was found, what is allowed, and what was probably meant."""

from pathlib import Path

import pytest

from tests.support.cli import Run


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        ("stats", "there is no command 'stats'; did you mean 'status'?"),
        ("pause now", "there is no command 'pause'; did you mean 'tallystick send pause'?"),
        ("send pauze now", "found 'pauze'; did you mean 'pause'?: allowed are a JSON object, pause REASON"),
        ("status --limit x", "'--limit': found 'x', allowed is a whole number from 1 on"),
        ("status --limit 0", "'--limit': found '0', allowed is a whole number from 1 on"),
        ("holds --limit 5000", "'--limit': found '5000', allowed is a whole number from 1 to 1000"),
        ("serve --port 99999", "'--port': found '99999', allowed is a whole number from 0 to 65535"),
        ("status --watch 0", "'--watch': found '0', allowed are seconds from 0.1 to 86400"),
        ("status --watch nan", "'--watch': found 'nan', allowed are seconds from 0.1 to 86400"),
        ("status --at soon", "'--at': found 'soon', allowed is a position, or a time like 2026-03-04T12:00:00Z"),
        ("cost --since 2026-03-05 --until 2026-03-04", "--since and --until: found 2026-03-05 and 2026-03-04"),
        ("cost --until 2026-03-04 --since 2026-03-05", "--since and --until: found 2026-03-05 and 2026-03-04"),
        ("export focus --since 2026-03-05 --until 2026-03-04", "allowed is the earlier day first"),
        ("events --since 5 --until 4", "--since and --until: found the later moment first"),
        ("events --since 2026-03-05 --until 2026-03-04", "--since and --until: found the later moment first"),
        ("audit explain a-1 --since 5 --until 4", "--since and --until: found the later moment first"),
        ("limits --value ann", "--value and --after: found without --limit, allowed is beside it only"),
        ("limits --after ann", "--value and --after: found without --limit, allowed is beside it only"),
        ("projections rebuild agnets", "'[NAMES]...': 'agnets' is not one of 'accuracy', 'agents'"),
        ("send pause now --key k", "--key: found it without --url, allowed is both"),
        ("mcp --key k", "--key: found it without --url, allowed is both"),
        ("import codex . --key k", "--key: found it without --url, allowed is both"),
        ("send correct-usage x tokens=5 why", "correct-usage: found 'x', allowed is a position first"),
        ("send correct-usage 3 token=5 why", "correct-usage: found 'token=5', allowed is what counts"),
        ("send correct-usage 3 tokens=5 cost_usd=1", "correct-usage needs a reason behind what counts"),
        ("key create --role operator --expires soon", "found 'soon', allowed is 12h, 90d, or a time like"),
        ("key create --role operator --expires 17", "found '17', allowed is 12h, 90d, or a time like"),
        ("key create --role operator --approve-up-to x", "found 'x', allowed are dollars like 50 or 12.50"),
    ],
)
def test_it_makes_no_sense(run: Run, tmp_path: Path, args: str, reason: str) -> None:
    result = run(*args.split())
    assert result.exit_code == 2
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert not list(tmp_path.iterdir())


def test_a_command_that_looks_like_none_is_not_guessed(run: Run) -> None:
    assert run("xyzzy").stderr == "tallystick: there is no command 'xyzzy'; see tallystick --help\n"


def test_moments_of_which_one_is_a_position_and_one_a_time_are_not_compared(run: Run, fleet: Path) -> None:
    assert run("events", "--since", "9", "--until", "2026-03-04").exit_code == 0


def test_the_key_of_the_environment_may_be_there_where_no_server_is_asked(
    run: Run, fleet: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TALLYSTICK_KEY", "tsk_x")
    assert run("send", '{"type": "GetGlobalStatus"}').exit_code == 0


def test_a_folder_is_no_store(run: Run, tmp_path: Path) -> None:
    (tmp_path / "fleets.db").mkdir()
    for args in (["status"], ["send", '{"type": "AllocateBudget", "agent": "a", "budget": {"tokens": 1}}']):
        result = run(*args, "--store", "sqlite:///fleets.db")
        assert result.exit_code == 1
        said = "sqlite:///fleets.db is a folder, and a fleet is a file: name one in it"
        assert result.stderr == f"tallystick: {said}\n"


def test_where_there_is_no_fleet_the_answer_says_what_to_do(run: Run) -> None:
    said = "the file tallystick.db does not exist; name another by --store, or begin one (tallystick send --help)"
    assert run("status").stderr == f"tallystick: there is no fleet at sqlite:///tallystick.db: {said}\n"


def test_a_copy_into_a_folder_that_is_not_there(run: Run, fleet: Path, tmp_path: Path) -> None:
    result = run("store", "backup", "media/copy.db")
    assert result.exit_code == 1
    said = f"the folder {tmp_path / 'media'} does not exist"
    assert result.stderr == f"tallystick: {tmp_path / 'media' / 'copy.db'} cannot be written: {said}\n"


def test_a_moment_before_the_log_is_shown_as_all_times_are(run: Run, fleet: Path) -> None:
    assert "nothing had been recorded by 2020-01-01T00:00:00Z" in run("status", "--at", "2020-01-01").stderr


def test_a_day_is_a_time_until_which_a_key_is_valid(run: Run, fleet: Path) -> None:
    result = run("key", "create", "--role", "operator", "--expires", "2999-01-01")
    assert result.exit_code == 0
    assert "2999-01-01" in result.stderr


def test_no_alert_fits(run: Run, fleet: Path) -> None:
    assert run("alerts", "--code", "nonsense").stdout == "No such alert.\n"
