"""Names are spelled as they look: what opens something is refused, a report is repaired, what is known stays."""

import tempfile
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tallystick.actors.runtime.fleet import Fleet
from tallystick.cli.main import main
from tallystick.config.errors import ConfigError
from tallystick.config.loader import changed, from_mapping, restore, to_mapping
from tallystick.config.spelling import misspelled, repaired
from tallystick.events import catalog as e
from tallystick.events import messages as c
from tallystick.events.messages import proposals as p
from tallystick.events.messages.replies import Enforcement
from tests.support.core import Core, allocate, budget, fleet, hold, use

TABLE = [
    ("a\x00", "U+0000 NULL", "a"),
    ("bell\a", "U+0007 ALERT", "bell"),
    ("a\tb", "U+0009 TAB", "ab"),
    ("a\nb", "U+000A LINE FEED", "ab"),
    ("a\x1b[31m", "U+001B ESCAPE", "a[31m"),
    ("a\x7f", "U+007F DELETE", "a"),
    ("a\x85b", "U+0085 NEXT LINE", "ab"),
    ("a\xadb", "U+00AD SOFT HYPHEN", "ab"),
    ("a\u200bb", "U+200B ZERO WIDTH SPACE", "ab"),
    ("a\u200db", "U+200D ZERO WIDTH JOINER", "ab"),
    ("a\u2060b", "U+2060 WORD JOINER", "ab"),
    ("\ufeffa", "U+FEFF ZERO WIDTH NO-BREAK SPACE", "a"),
    ("a\u200e", "U+200E LEFT-TO-RIGHT MARK", "a"),
    ("\u202egnp", "U+202E RIGHT-TO-LEFT OVERRIDE", "gnp"),
    ("a\u2066b\u2069", "U+2066 LEFT-TO-RIGHT ISOLATE", "ab"),
    ("a\u061cb", "U+061C ARABIC LETTER MARK", "ab"),
    ("a\u2028b", "U+2028 LINE SEPARATOR", "ab"),
    ("a\ufe0f", "U+FE0F VARIATION SELECTOR-16", "a"),
    (" lead", "U+0020 SPACE", "lead"),
    ("trail ", "U+0020 SPACE", "trail"),
    ("\u3000wide", "U+3000 IDEOGRAPHIC SPACE", "wide"),
    ("hard\xa0", "U+00A0 NO-BREAK SPACE", "hard"),
    ("e\u0301", "U+0065 LATIN SMALL LETTER E", "é"),
    ("\u212b", "U+212B ANGSTROM SIGN", "Å"),
    ("\u200b", "U+200B ZERO WIDTH SPACE", "U+200B"),
]
OTHERS = ["a b", "é", "日本語", "😀", "a/b-c.d_e", "ﬁ", "İ", "x" * 128]
STRANGE = st.text(
    st.sampled_from("ab \t\n\x00\x7f\xad\xa0\u0301e\u200b\u200d\u202e\u2066\ufeff\ufe0f\u3000\u0958é日😀'\"\\;"),
    min_size=1,
    max_size=12,
)


@pytest.mark.parametrize(("name", "character", "meant"), TABLE)
def test_a_misspelled_name_opens_nothing_and_its_character_is_named(name: str, character: str, meant: str) -> None:
    core = Core(fleet(1_000), allocate("ann", 100))
    amount = budget(1)
    task = c.SubmitTask(task="t", agent_type="writer", product="shop")
    commands: list[tuple[str, c.Command]] = [
        ("agent", c.AllocateBudget(agent=name, budget=amount)),
        ("agent", c.AllocateFromPool(agent=name, request=amount)),
        ("agents", c.AllocateEqual(agents=["new", name], total=amount)),
        *((label, c.AllocateBudget(agent="new", budget=amount, **{label: name})) for label in LABELS),
        *(
            (field, p.PlaceTask(submitted=msgspec.structs.replace(task, **{field: name})))
            for field in ("task", "model", *LABELS)
        ),
        ("product", c.OverridePriority(product=name, priority="low")),
        ("operation", c.Reserve(agent="ann", estimate=amount, operation=name)),
        ("labels", c.Reserve(agent="ann", estimate=amount, labels={"x": name})),
    ]
    for field, command in commands:
        core.when(command)
        refusal = core.then_refused("invalid_message")
        assert refusal.detail.startswith(f"{field}: found {name!a} with {character}, allowed is ")
        assert refusal.numbers == {"field": field, "character": character}


LABELS = ("agent_type", "product", "workflow")


@pytest.mark.parametrize("name", OTHERS)
def test_any_other_name_opens_an_account(name: str) -> None:
    assert misspelled(name) is None
    assert repaired(name) == name
    assert Core(fleet(1_000), allocate(name, 100)).ledger.accounts[name]


@pytest.mark.parametrize(("name", "character", "meant"), TABLE)
def test_a_report_under_a_misspelled_name_is_repaired_and_flagged(name: str, character: str, meant: str) -> None:
    core = Core(fleet(1_000), allocate(meant, 100))
    answer = core.when(use(name, 7))
    assert isinstance(answer, Enforcement)
    assert (answer.agent, answer.repaired, answer.unallocated) == (meant, True, False)
    assert core.only(e.UsageReported).repaired
    assert core.ledger.accounts[meant].spent[0] == 7
    plain = core.when(use(meant, 7))
    assert isinstance(plain, Enforcement)
    assert plain.repaired is False


def test_a_settlement_with_a_misspelled_word_is_repaired_and_flagged() -> None:
    core = Core(fleet(1_000), allocate("ann", 100), hold("ann", "h", 10))
    answer = core.when(c.Settle(hold="h", usage=budget(5), operation="read\u200b", labels={"a\u200b": " b"}))
    assert isinstance(answer, Enforcement)
    assert answer.repaired is True
    event = core.only(e.HoldSettled)
    assert (event.operation, event.labels, event.repaired) == ("read", {"a": "b"}, True)


@pytest.mark.parametrize("name", ["old ", "a\u200bb", "e\u0301"])
def test_a_name_that_a_log_knows_stays_valid_as_it_is_spelled(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as earlier:
        earlier.setattr("tallystick.events.decide.spelling.misspelled", lambda name: None)
        core = Core(fleet(1_000), c.AllocateBudget(agent=name, budget=budget(100), product=f".{name}"))
    core.given(use(name, 7))
    assert core.only(e.UsageReported).agent == name
    assert core.only(e.UsageReported).repaired is False
    core.given(c.ReleaseBudget(agent=name), c.AllocateBudget(agent=name, budget=budget(5), product=f".{name}"))


def test_a_new_entry_of_a_configuration_is_spelled_as_it_looks_and_an_old_one_stays() -> None:
    with pytest.raises(ConfigError, match=r"U\+200B ZERO WIDTH SPACE"):
        from_mapping({"products": {"shop\u200b": {"weight": 2}}})
    old = to_mapping(from_mapping({"products": {"shop": {"weight": 2}}}))
    old["products"] = {"shop ": old["products"]["shop"]}
    in_force = restore(old)
    assert changed(in_force, {"products": {"shop ": {"weight": 3}}}).products["shop "].weight == 3


@given(name=st.text(min_size=1, max_size=200) | STRANGE)
def test_a_repaired_name_is_one_that_may_be_opened_and_is_repaired_to_itself(name: str) -> None:
    again = repaired(name)
    assert 1 <= len(again) <= 128
    assert misspelled(again) is None
    assert repaired(again) == again
    assert (again == name) == (misspelled(name) is None and len(name) <= 128)


@settings(max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(STRANGE, min_size=1, max_size=4))
def test_reports_under_strange_names_reach_the_log_its_replay_and_the_status(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder)}/fleet.db"
        with Fleet.open(url, from_mapping({"total_budget": {"tokens": 1_000}})) as opened:
            for name in names:
                opened.ask({"type": "AllocateBudget", "agent": name, "budget": {"tokens": 10}, "product": name})
                answer = opened.ask({"type": "ReportUsage", "agent": name, "usage": {"tokens": 1}})
                assert answer["ok"]["agent"] == repaired(name)
                assert answer["ok"].get("repaired", False) == (repaired(name) != name)
        with Fleet.open(url) as again:
            status = again.ask({"type": "GetGlobalStatus"})["ok"]
            assert status["total_consumed"]["tokens"] == len(names)
        for command in (["status"], ["audit", "verify"]):
            result = CliRunner().invoke(main, [*command, "--store", url], env={"COLUMNS": "200"})
            assert result.exit_code == 0, result.output
