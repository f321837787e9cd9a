"""What a fleet is opened with: a configuration and prices that are given, as a file or otherwise, or that are found."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tallystick.config import loader, prices
from tallystick.config.prices import PriceList
from tallystick.config.settings import Config

GivenConfig = Config | Mapping[str, Any] | Path | str | None
"""A configuration: whole, as a mapping with the keys of resource-limits.yml, or as the path of such a file."""
GivenPrices = PriceList | Mapping[str, Any] | Path | str | None
"""A price list: whole, as a mapping of models as under `prices` in prices.yml, or as the path of such a file."""


def config_for(given: GivenConfig, is_new: bool) -> Config | None:
    """The configuration to put in force; None for what is in force, or packaged.

    Where none is given, a new fleet begins with the file that the command line would find too. One that has begun keeps
    what is in force, unless the variable names a file: a program that runs in another folder must not change it.

    Raises:
        ConfigError: the file cannot be read, or it says something that is not allowed.
    """
    if isinstance(given, Config):
        return given
    if isinstance(given, Mapping):
        return loader.from_mapping(given)
    file = _file(given, loader.ENVIRONMENT_VARIABLE, loader.find, is_new)
    return None if file is None else loader.load(file)


def prices_for(given: GivenPrices, is_new: bool) -> PriceList | None:
    """The prices to put in force, found as a configuration is; None for those in force, or packaged.

    Raises:
        ConfigError: the file cannot be read, or it says something that is not allowed.
    """
    if isinstance(given, PriceList):
        return given
    if isinstance(given, Mapping):
        return prices.from_mapping(given.get("prices", given))
    file = _file(given, prices.ENVIRONMENT_VARIABLE, prices.find_prices, is_new)
    return None if file is None else prices.load_prices(file)


def _file(
    given: Path | str | None, variable: str, find: Callable[[str | None, Mapping[str, str]], Path | None], is_new: bool
) -> Path | None:
    """The file that is named, or that a new fleet finds."""
    named = given is not None or bool(os.environ.get(variable))
    return find(None if given is None else str(given), os.environ) if named or is_new else None
