"""No function calls itself over data: a deep tree, a long chain or a nested message never meets Python's limit.

The exceptions are listed with what bounds their depth.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent
ROOMS = ("actors", "config", "events", "projections", "tallystick")

BOUNDED = {
    # Specialists: a successor that fails at once is counted, and given up after a few.
    "actors/runtime/fleet.py": {"_on_crash"},
    # The same; and once a reallocator is given up, what stands behind a plan is answered without another.
    "actors/manager.py": {
        "_ask",
        "_consult",
        "_take_from",
        "_tell_allocator",
        "give_up_specialist",
        "settle",
    },
    # Conditions: at most 32 levels (`_DEEPEST` in config/grammar.py), and texts of at most 4,096 characters.
    "config/conditions.py": {"_truth", "_pairs", "_outcomes", "node"},
    "config/grammar.py": {"written", "_within"},
    "config/names.py": {"numbers_in"},
    # A configuration: a file of at most 32 levels (config/source.py), or as deep as its types are.
    "config/source.py": {"_value", "_map"},
    "config/building.py": {"_value", "_section", "_entries", "_items"},
    "config/loader.py": {"_plain", "_as_named"},
    "config/overlay.py": {"dropped", "changes"},
    "config/schema.py": {"_as_written"},
    "tallystick/cli/configuration.py": {"_with_numbers"},
    # Names and patterns of the packaged price list and catalogue.
    "config/published.py": {"_names", "_regex"},
    "config/model_names.py": {"_forms", "_loosened"},
    "events/decide/tightening.py": {"_changes"},
    # Messages: as deep as the reader of JSON lets them be, or a written limit.
    "events/messages/invalid.py": {"_found", "_words"},
    "events/messages/legible.py": {"other_digits_in"},
    "events/messages/provider_usage.py": {"_known"},
    # Schemas of messages and replies, as deep as their types are.
    "tallystick/http/docs_page.py": {"_type"},
    "tallystick/http/openapi.py": {"_edited"},
    "tallystick/mcp/tools.py": {"_edited"},
    # Answers of what-if, as deep as their types are; recorded answers, as deep as ours.
    "tallystick/whatif/answer.py": {"_leaves"},
    "tallystick/whatif/mismatch.py": {"unlike"},
    "tallystick/whatif/sentences.py": {"_as_worded"},
}
"""By file, the functions that may call themselves, directly or by way of others of the file."""


def files() -> list[Path]:
    return [
        path
        for room in ROOMS
        for path in sorted((PROJECT / room).rglob("*.py"))
        if not any(parent.is_symlink() for parent in path.parents)
    ]


def functions(tree: ast.AST) -> Iterator[tuple[str, ast.AST, bool]]:
    """The functions of a file, and whether they are methods."""
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield child.name, child, isinstance(node, ast.ClassDef)


def recursive(source: str) -> set[str]:
    """The functions of a file that call themselves, directly or by way of others of the file.

    A method is called by ``self`` or ``cls``, another function by its name.
    """
    calls: dict[tuple[str, bool], set[tuple[str, bool]]] = {}
    for name, function, is_method in functions(ast.parse(source)):
        found = calls.setdefault((name, is_method), set())
        for node in ast.walk(function):
            if not isinstance(node, ast.Call):
                continue
            if isinstance(node.func, ast.Name):
                found.add((node.func.id, False))
            elif isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) in ("self", "cls"):
                found.add((node.func.attr, True))
    return {function[0] for function in calls if function in reached(calls, function)}


def reached(calls: dict[tuple[str, bool], set[tuple[str, bool]]], start: tuple[str, bool]) -> set[tuple[str, bool]]:
    seen: set[tuple[str, bool]] = set()
    left = [*calls[start]]
    while left:
        one = left.pop()
        if one in calls and one not in seen:
            seen.add(one)
            left += calls[one]
    return seen


@pytest.mark.parametrize("path", files(), ids=lambda path: path.relative_to(PROJECT).as_posix())
def test_no_function_calls_itself_over_data(path: Path) -> None:
    name = path.relative_to(PROJECT).as_posix()
    wrong = recursive(path.read_text(encoding="utf-8")) - BOUNDED.get(name, set())
    assert not wrong, f"{name}: a loop with a list of what is left works at any depth"


def test_every_exception_is_still_needed() -> None:
    for name, allowed in BOUNDED.items():
        assert allowed <= recursive((PROJECT / name).read_text(encoding="utf-8")), name


def test_calls_by_way_of_others_and_of_methods_are_found() -> None:
    assert recursive("def f(x):\n  g(x)\ndef g(x):\n  f(x)\ndef h(): f(1)") == {"f", "g"}
    assert recursive("class A:\n  def f(self): self.g()\n  def g(self): self.f()\n  def h(self): h()") == {"f", "g"}
