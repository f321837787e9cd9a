"""Where the real workloads lie that are measured on: beside the checkout, and never in it."""

from pathlib import Path


def found(name: str) -> Path | None:
    """The file of that name in ``shared/data`` beside this checkout or above it; None where there is none."""
    for folder in Path(__file__).resolve().parents:
        file = folder / "shared" / "data" / name
        if file.is_file():
            return file
    return None
