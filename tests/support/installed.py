"""What an installation of tallystick consists of: the packages that it needs, and their size on the disk."""

import re
import sys
import tomllib
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.markers import default_environment
from packaging.requirements import Requirement

from tests.support.pages import PROJECT

PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PYPROJECT["optional-dependencies"]
MEGABYTE = 1_000_000


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def needed(extra: str | None) -> set[str]:
    """The packages that the base needs, or with an extra, and those that these need, by canonical name."""
    environment = dict(default_environment())
    found: set[str] = set()
    asked = [Requirement(text) for text in (*PYPROJECT["dependencies"], *(EXTRAS[extra] if extra else ()))]
    seen: set[tuple[str, frozenset[str]]] = set()
    while asked:
        one = asked.pop()
        key = canonical(one.name), frozenset(one.extras)
        if key in seen:
            continue
        seen.add(key)
        found.add(key[0])
        for text in distribution(one.name).requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({**environment, "extra": of}) for of in (*sorted(one.extras), "")):
                asked.append(requirement)
    return found


def megabytes(package: Distribution) -> float:
    """The files that a package has installed, without what Python has compiled of them."""
    files = [Path(str(file.locate())) for file in package.files or () if file.suffix != ".pyc"]
    return sum(file.stat().st_size for file in files if file.is_file()) / MEGABYTE


def sizes_in(folder: Path) -> dict[str, float]:
    """The megabytes of each package in a folder of packages, by canonical name."""
    return {canonical(one.metadata["Name"]): megabytes(one) for one in distributions(path=[str(folder)])}


def table(extra: str | None) -> dict[str, float]:
    """The megabytes of each package of the base, or of those that an extra adds to it; the largest first."""
    names = needed(extra) - (needed(None) if extra else set())
    sizes = {name: round(megabytes(distribution(name)), 1) for name in names}
    return dict(sorted(sizes.items(), key=lambda pair: (-pair[1], pair[0])))


def rows() -> str:
    """The tables of docs/reference/install.md."""
    base = table(None)
    lines = [f"| `{name}` | {size} |" for name, size in base.items()]
    lines.append(f"| together | {sum(base.values()):.1f} |")
    for extra in (name for name in EXTRAS if name != "dev"):
        sizes = table(extra)
        packages = ", ".join(f"`{name}`" for name in sizes)
        lines.append(f"| `{extra}` | {packages} | {sum(sizes.values()):.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(rows())
