"""What tests of layout and words ask of a Python file. Each is read once: the trees of all would fill the memory."""

import ast
from functools import cache
from pathlib import Path
from typing import NamedTuple

CLOCKS = {"now", "today", "utcnow"}


class SourceFile(NamedTuple):
    """A file's imports as they are written, what it defines with its length in lines, and where it reads a clock.

    ``imports`` has (line, level, module, name); the name of ``import module`` is empty.
    """

    lines: int
    imports: tuple[tuple[int, int, str, str], ...]
    classes: tuple[str, ...]
    functions: tuple[tuple[str, int], ...]
    clocks: tuple[str, ...]


@cache
def source_file(path: Path) -> SourceFile:
    text = path.read_text(encoding="utf-8")
    imports, classes, functions, clocks = [], [], [], []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            imports += [(node.lineno, 0, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            imports += [(node.lineno, node.level, str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.ClassDef):
            classes.append(node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append((node.name, (node.end_lineno or 0) - node.lineno + 1))
        elif isinstance(node, ast.Attribute) and node.attr in CLOCKS and "date" in ast.unparse(node.value):
            clocks.append(f"line {node.lineno}: {ast.unparse(node)}")
    return SourceFile(text.count("\n"), tuple(imports), tuple(classes), tuple(functions), tuple(clocks))
