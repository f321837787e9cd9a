"""Pages, `--help`, texts and comments of the code, and names of files, classes, functions and tests use plain words.

An early version of this project had a private language. Its words are forbidden here; the glossary
(`docs/reference/glossary.md`) has the words that are used instead. A word that is also ordinary English, or a term, is
forbidden only in its private sense: an amount may be "set aside", a reply may not be "kept aside".
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest

from tallystick.cli.main import main
from tests.support.pages import PAGES, PROJECT, fences
from tests.support.source_files import source_file

ROOMS = ("actors", "benchmarks", "config", "events", "projections", "tallystick")
CODE = sorted(path for room in ROOMS for path in (PROJECT / room).rglob("*.py") if "node_modules" not in path.parts)
TESTS = sorted((PROJECT / "tests").rglob("*.py"))
WRITTEN = [
    *PAGES,
    PROJECT / "CHANGELOG.md",
    PROJECT / "Makefile",
    PROJECT / "pyproject.toml",
    *sorted((PROJECT / "config").glob("*.yml")),
]


class Word(NamedTuple):
    """A forbidden word: the pattern that finds it in a text, and what to write instead."""

    pattern: re.Pattern[str]
    instead: str


def _word(pattern: str, instead: str) -> Word:
    return Word(re.compile(rf"(?<![\w`.-])(?:{pattern})(?![\w`]|-(?!\w*-?\w*\.md))", re.IGNORECASE), instead)


FORBIDDEN = [
    _word("houses?", "fleet, runtime"),
    _word("laws?|lawful(?:ly|ness)?", "core, invariants, conservation"),
    _word(r"(?:the|our|its|own|these|same) people|person (?:wants|of the fleet)", "specialists"),
    _word("doors?", "command queue"),
    _word("bells?", "wake-up"),
    _word("desks?|seats?", "manager actor"),
    _word(r"(?<!set )(?<!sets )(?<!setting )(?<!money )(?<!amount )(?<!estimate )(?<!anything )aside", "kept back"),
    _word("couriers?|messengers?", "notifier, sender"),
    _word("lanes?", "delivery queue"),
    _word("rosters?", "scheduler index"),
    _word("promises|promised", "commitments"),
    _word("standings?", "account read model"),
    _word("keepers?", "view store"),
    _word("sketch(?:es|ed)?|upkeep", "query adapter, projection runner"),
    _word("chronicles?", "timeline"),
    _word("onlookers?|compan(?:y|ies)", "shadow specialists"),
    _word("parting|part company|they part|have parted", "divergence"),
    _word("fates?|fared?", "message filter; what happened to it"),
    _word("courses", "shifted runs"),
    _word("fore(?:tell|tells|told|telling)", "forecast"),
    _word("foresight|outlooks?|lessons?", "forecaster, exhaustion, priors"),
    _word("chances", "completion probability"),
    _word("heed(?:s|ed)?|doubt(?:s|ed)?", "what it means, such as needs_refusal_notice"),
    _word(
        r"(?:is|are|was|were|be|been|being|not|never|once) told|told (?:of|to|that|when|once|what)",
        "gets, sees, learns, is notified",
    ),
    _word("whoever|whomever", "the one that, any process that"),
    _word("nobody", "the thing that is meant: no agent, no process, no operator"),
    _word("in vain", "for nothing, wasted"),
    _word("dearest|dearer", "most expensive"),
    _word(
        r"(?:higher|lower|highest|lowest)[ -]levels?|priority[ -]levels?|levels? (?:that|which) (?:may|must|can)"
        r"|levels? of (?:a |the )?(?:task|priority)\w*|(?:its|whose|their|no) level (?:allows|may|has|takes|gives)",
        "priority; a level is green to black",
    ),
]  # fmt: skip

NAMES = {
    "house", "houses", "law", "laws", "person", "persons", "door", "doors", "bell", "bells", "desk", "seat", "courier",
    "messenger", "lane", "lanes", "roster", "promise", "promises", "standing", "standings", "keeper", "keepers",
    "sketch", "upkeep", "chronicle", "onlooker", "onlookers", "company", "companies", "parting", "fate", "fates",
    "courses", "foretold", "foretell", "foresight", "outlook", "lesson", "lessons", "chances", "heeded", "doubted",
    "told", "nobody", "whoever", "dearest",
}  # fmt: skip
"""Forbidden parts of the names of files, classes and functions: `standing_of` has the parts `standing` and `of`."""

FILES = NAMES | {"aside", "people", "moving", "work", "totals"}
"""Forbidden parts of the names of files and folders."""

STORED = {"courier"}
"""A name that stored logs contain, and that cannot change: a sender."""


def complaints(text: str) -> Iterator[str]:
    """Each forbidden word in a text, with the words around it and what to write instead."""
    for word in FORBIDDEN:
        for found in word.pattern.finditer(text):
            around = " ".join(text[max(0, found.start() - 40) : found.end() + 40].split())
            yield f"{found[0]!r} in …{around}… (write: {word.instead})"


def _prose(path: Path) -> str:
    """A page without names in backticks, and without stored names in its outputs."""
    text = path.read_text(encoding="utf-8")
    for block in fences(text):
        text = text.replace(block[0], re.sub(rf"\b(?:{'|'.join(STORED)})\b", "…", block[0]))
    return _without_names(text)


def _without_names(text: str) -> str:
    return re.sub(r"(?<!`)`[^`\n]+`(?!`)", "`…`", text)


def _parts(name: str) -> set[str]:
    """The words of an identifier: both `account_models` and `AccountModels` have `account` and `models`."""
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}


# --- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_a_page_uses_plain_words(path: Path) -> None:
    assert not list(complaints(_prose(path)))


def commands(command: click.Command, path: str) -> Iterator[tuple[str, str]]:
    ctx = click.Context(command, info_name=path)
    yield path, " ".join(command.get_help(ctx).split())
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            inner = command.get_command(ctx, name)
            assert inner is not None
            yield from commands(inner, f"{path} {name}")


@pytest.mark.parametrize(("path", "said"), [pytest.param(*one, id=one[0]) for one in commands(main, "tallystick")])
def test_help_uses_plain_words(path: str, said: str) -> None:
    assert not list(complaints(said)), path


# --- the code ---------------------------------------------------------------------------------------------------------


def _said(source: str) -> Iterator[tuple[int, str]]:
    """The comments and string literals of a file with their lines, also docstrings and the parts of f-strings."""
    comments: list[str] = []
    began = last = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            if comments and token.start[0] != last + 1:
                yield began, " ".join(comments)
                comments = []
            began = began if comments else token.start[0]
            last = token.start[0]
            comments.append(token.string.lstrip("# "))
    yield began, " ".join(comments)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in STORED:
            yield node.lineno, _without_names(node.value)


def _named(path: Path) -> Iterator[tuple[str, set[str]]]:
    """The names of a file and of what it defines, each with the parts that it may not have."""
    for part in path.relative_to(PROJECT).with_suffix("").parts:
        yield part, FILES
    file = source_file(path)
    for name in (*file.classes, *(function for function, _ in file.functions)):
        yield name, NAMES


def test_texts_and_comments_of_the_code_use_plain_words() -> None:
    found = [
        f"{path.relative_to(PROJECT)}:{line}: {complaint}"
        for path in CODE
        for line, text in _said(path.read_text(encoding="utf-8"))
        for complaint in complaints(text)
    ]
    assert not found, "\n".join(found)


def test_files_classes_and_functions_have_plain_names() -> None:
    found = [
        f"{path.relative_to(PROJECT)}: {name}: {_parts(name) & words}"
        for path in (*CODE, *TESTS)
        for name, words in _named(path)
        if _parts(name) & words
    ]
    assert not found, "\n".join(found)


# --- the test itself --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "The law of the house is checked.",
        "Whoever is at the door rings the bell.",
        "The end of the day is foretold.",
        "It keeps the reply aside.",
        "A task of a higher level takes the slot.",
        "Our own people propose it.",
        "The agent is told once.",
    ],
)  # fmt: skip
def test_private_words_are_found(text: str) -> None:
    assert list(complaints(text))


@pytest.mark.parametrize(
    "text",
    [
        "An amount that is set aside before an operation is a hold.",
        "A budget that is outstanding; an airplane; of course.",
        "Alerts reach people by mail.",
        "Yellow is a level, and critical is a priority.",
        "The lower end of the interval.",
    ],
)  # fmt: skip
def test_ordinary_english_is_not(text: str) -> None:
    assert not list(complaints(text))
