"""The list of decisions names each record once, under its own title."""

import re

from tests.support.pages import PROJECT

FOLDER = PROJECT / "docs" / "decisions"
RECORDS = sorted(FOLDER.glob("[0-9]*.md"))
_ENTRY = re.compile(r"^- \[(\d+)\. (.*?)\]\(([^()]*\.md)\)(; changed by (.*))?$", re.MULTILINE)


def listed() -> dict[str, str]:
    """The title under which each file is listed."""
    entries = _ENTRY.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    found = {file: f"# {number}. {title}" for number, title, file, _, _ in entries}
    assert len(found) == len(entries), "a record is listed twice"
    return found


def test_each_record_is_listed_once_under_its_title() -> None:
    titles = {record.name: record.read_text(encoding="utf-8").partition("\n")[0] for record in RECORDS}
    assert listed() == titles


def test_a_title_begins_with_the_number_of_its_file() -> None:
    for record in RECORDS:
        first = record.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith(f"# {int(record.name[:4])}. "), record.name


def test_what_changed_a_record_is_a_later_one() -> None:
    entries = _ENTRY.findall((FOLDER / "README.md").read_text(encoding="utf-8"))
    changed = [(number, later) for number, _, _, _, laters in entries for later in re.findall(r"\[(\d+)\]", laters)]
    assert changed
    assert all(int(later) > int(number) for number, later in changed)
