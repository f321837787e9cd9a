"""All settings survive being written and read; every text loads or is refused with its line."""

from collections.abc import Mapping
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import msgspec
import yaml
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tallystick.config import prices
from tallystick.config.amounts import AMOUNT_MAX
from tallystick.config.errors import ConfigError, Unfit
from tallystick.config.grammar import quoted
from tallystick.config.kinds import Bounds, KeyDigest, Percent
from tallystick.config.limits import (
    SCOPES,
    AccountLimit,
    Accounts,
    AutoAccounts,
    Calendar,
    Lasting,
    Limit,
    LimitMax,
)
from tallystick.config.loader import changed, from_mapping, parse, restore, to_mapping, without_limits
from tallystick.config.names import FLEET_NAMES
from tallystick.config.outgoing import ApprovalLinks, Webhook
from tallystick.config.overlay import changes, dropped
from tallystick.config.remarks import kept, limits_of, names_key
from tallystick.config.section import Section
from tallystick.config.settings import (
    AutoModelSelection,
    CircuitBreaker,
    Config,
    Enforcement,
    FleetResponse,
    Model,
    ModelRule,
    WhenTripped,
)
from tallystick.config.spelling import misspelled
from tallystick.config.total_budget import Delegate, DelegateBudget, TotalBudget
from tests.support.examples import examples

NAMES = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=8).filter(
    lambda name: misspelled(name) is None
)
TRIPS = st.builds("{} {} {}".format, st.sampled_from(sorted(FLEET_NAMES)), st.sampled_from("<>"), st.integers())
RULES = TRIPS | st.builds("task.product == {}".format, NAMES.map(quoted))
RISING = {
    Enforcement: ("warn_at", "throttle_at", "degrade_at", "stop_at"),
    FleetResponse: ("throttle_at", "degrade_at", "stop_at"),
}


def values(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a kind of setting, from the kind itself."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in {UnionType, Union}:
        return st.one_of(*(st.none() if one is NoneType else values(one) for one in arguments))
    if origin is Mapping:
        return st.dictionaries(NAMES, values(arguments[1]), max_size=3)
    if origin is tuple:
        return st.lists(values(arguments[0]), max_size=3).map(tuple)
    if origin is Literal:
        return st.sampled_from(arguments)
    if kind is bool:
        return st.booleans()
    if isinstance(kind, type) and issubclass(kind, Section):
        return sections(kind)
    return singles(kind)


def singles(kind: Any) -> st.SearchStrategy[Any]:
    plain = get_args(kind)[0]
    meta = next(note for note in kind.__metadata__ if isinstance(note, msgspec.Meta))
    if plain is int:
        return st.integers(int(meta.ge or 0), AMOUNT_MAX if meta.le is None else int(meta.le))
    if kind is KeyDigest:
        return st.binary(min_size=32, max_size=32).map(lambda digest: f"sha256:{digest.hex()}")
    if plain is str:
        return NAMES
    assert meta.extra is not None
    bounds: Bounds = meta.extra["bounds"]
    return st.decimals(bounds.least, bounds.most, places=bounds.decimals).filter(bounds.hold)


def sections(kind: type[Section]) -> st.SearchStrategy[Section]:
    def fitting(drawn: dict[str, Any]) -> Section:
        rising = RISING.get(kind, ())
        drawn.update(zip(rising, sorted(drawn[name] for name in rising), strict=True))
        try:
            return kind(**drawn)
        except Unfit:
            reject()

    fields = {field.name: values(field.type) for field in msgspec.structs.fields(kind)}
    return st.fixed_dictionaries(fields).map(fitting)


ADDRESSES = NAMES.filter(lambda name: "@" not in name).map("https://{}".format)
PARENTS = ADDRESSES | NAMES.map("sqlite:///{}".format) | st.lists(ADDRESSES, min_size=1, max_size=3).map(tuple)
MUST_FIT = (
    *("timezone", "models", "auto_model_selection", "notifications", "circuit_breaker"),
    *("notification_networks", "delegate", "webhooks", "approval_links"),
    *("accounts", "limits", "limits_counters_max"),
)
FREE = st.fixed_dictionaries(
    {field.name: values(field.type) for field in msgspec.structs.fields(Config) if field.name not in MUST_FIT}
)


def lasting(length: Decimal, unit: str, opens: Any) -> Lasting:
    return Lasting(**{unit: length, "opens": opens})


LIMIT_SCOPES = st.sampled_from(SCOPES[1:]) | NAMES.map("label:{}".format)


def counted() -> dict[str, st.SearchStrategy[Any]]:
    """What limits of fleets and of accounts have in common."""
    lengths = st.decimals(1, 300, places=0)
    units = st.sampled_from(["seconds", "minutes", "hours", "days"])
    return {
        "max": sections(LimitMax).filter(lambda most: any(units is not None for units in most.units)),
        "match": st.dictionaries(LIMIT_SCOPES, NAMES | st.lists(NAMES, min_size=1, max_size=3).map(tuple), max_size=2),
        "window": values(Calendar) | st.builds(lasting, lengths, units, st.sampled_from([None, "first_use"])),
        "alert_at_percent": st.none() | st.lists(values(Percent), max_size=3).map(tuple),
        "then": st.sampled_from(["stop", "refuse", "wait", "warn"]),
    }


def limits() -> st.SearchStrategy[Limit]:
    names = NAMES.filter(lambda name: "/" not in name and name != "daily")
    return st.builds(Limit, name=names, per=LIMIT_SCOPES | st.just("fleet"), **counted())


def accounts() -> st.SearchStrategy[Accounts]:
    own = st.lists(st.builds(AccountLimit, **counted()), max_size=2).map(tuple)
    most, hours = st.integers(0, AMOUNT_MAX), st.decimals(1, 1_000, places=0)
    auto = st.builds(AutoAccounts, st.none() | NAMES, own, st.dictionaries(NAMES, NAMES, max_size=2), most, hours)
    return st.builds(Accounts, st.none() | auto)


SECRETS = st.sampled_from(["${TALLYSTICK_SECRET}", "file:/run/secret"])


def webhooks() -> st.SearchStrategy[Webhook]:
    urls = st.sampled_from(["https://example.com/hook", "http://[::1]:9/${TALLYSTICK_PART}"])
    return st.builds(Webhook, urls, SECRETS, st.lists(NAMES, max_size=2).map(tuple), st.integers(1, 1_000))


def approval_links(recipient: str) -> st.SearchStrategy[ApprovalLinks]:
    names = st.sampled_from([(), (recipient,)])
    return st.builds(ApprovalLinks, st.just("https://budget.example.com"), SECRETS, names, st.integers(1, 1_000))


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Any configuration: each key drawn from its kind, but for those that must fit together."""
    aliases = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    following: list[str | None] = [*aliases[1:], None]
    rules = draw(st.lists(st.builds(ModelRule, RULES, st.sampled_from(aliases)), max_size=3))
    notifications = draw(st.dictionaries(NAMES, st.lists(NAMES, max_size=2).map(tuple), min_size=1, max_size=3))
    notified = draw(st.sampled_from(sorted(notifications)))
    free = draw(FREE)
    delegate = draw(st.none() | st.builds(Delegate, PARENTS, NAMES, values(DelegateBudget)))
    if delegate is not None:
        free["total_budget"] = TotalBudget()
    return Config(
        delegate=delegate,
        timezone=draw(st.sampled_from(["UTC", "Europe/Zurich", "America/St_Johns"])),
        models={
            alias: Model(draw(NAMES), draw(NAMES), draw(st.sampled_from([None, after])))
            for alias, after in zip(aliases, following, strict=True)
        },
        auto_model_selection=AutoModelSelection((*rules, ModelRule("default", aliases[0]))),
        notifications=notifications,
        notification_networks=tuple(draw(st.lists(st.ip_addresses().map(str), max_size=2))),
        webhooks=draw(st.dictionaries(NAMES, webhooks(), max_size=2)),
        approval_links=draw(st.none() | approval_links(notified)),
        limits=tuple(draw(st.lists(limits(), max_size=3, unique_by=lambda limit: limit.name))),
        accounts=draw(accounts()),
        limits_counters_max=draw(st.integers(1, AMOUNT_MAX)),
        circuit_breaker=CircuitBreaker(tuple(draw(st.lists(TRIPS, max_size=2))), WhenTripped(notify=notified)),
        **free,
    )


@settings(max_examples=examples(75), deadline=None)
@given(configs())
def test_a_configuration_survives_being_written_and_read(config: Config) -> None:
    written = to_mapping(config)
    stored = msgspec.json.decode(msgspec.json.encode(written))
    assert stored == written
    assert from_mapping(stored) == config
    assert restore(stored) == config
    assert to_mapping(restore(stored)) == written


@settings(max_examples=examples(75), deadline=None)
@given(configs())
def test_a_configuration_survives_a_yaml_file(config: Config) -> None:
    assert parse(yaml.safe_dump(to_mapping(config), allow_unicode=True), "limits.yml") == config


@st.composite
def parts(draw: st.DrawFn) -> dict[str, Any]:
    """A part of a configuration: some of the keys of one, and of each section some of its keys."""
    whole = draw(st.sampled_from([to_mapping(config) for config in (Config(), without_limits())]) | FREE_MAPPINGS)
    part = {key: value for key, value in whole.items() if draw(st.booleans())}
    for key, value in part.items():
        if isinstance(value, dict):
            part[key] = {name: inner for name, inner in value.items() if draw(st.booleans())}
    return part


FREE_MAPPINGS = FREE.map(
    lambda free: {name: value for name, value in to_mapping(Config(**free)).items() if name in free}
)


@settings(max_examples=examples(75), deadline=None)
@given(FREE.map(lambda free: Config(**free)), parts())
def test_whatever_a_part_leaves_out_it_lifts_no_limit(in_force: Config, part: dict[str, Any]) -> None:
    try:
        after = changed(in_force, part)
    except ConfigError:
        reject()
    limits, still = limits_of(in_force), limits_of(after)
    for key, value in limits.items():
        if not names_key(part, key):
            assert still[key] == value, key
    omitted = [remark.message for remark in kept(in_force, part)]
    assert bool(omitted) == any(not names_key(part, key) for key in limits)
    assert changed(after, part) == after
    assert changed(in_force, {}) == in_force


@settings(max_examples=examples(75), deadline=None)
@given(parts(), parts())
def test_what_a_file_changes_over_what_it_said_is_what_it_says_now(before: Any, after: Any) -> None:
    """A file that is followed changes what it names; so the fleet ends as if it had been given both, one by one."""
    patch = changes(before, after)
    assert changes(after, after) == {}
    try:
        in_force = changed(without_limits(), before)
        both = changed(in_force, after)
        patched = changed(in_force, patch)
    except ConfigError:
        reject()
    assert patched == both
    assert set(dropped(after, after)) == set()


@settings(deadline=None)
@given(st.dictionaries(NAMES, st.builds(prices.ModelPrice, *[st.integers(0, 10**18)] * 3), max_size=4))
def test_a_price_list_survives_being_written_and_read(models: dict[str, prices.ModelPrice]) -> None:
    written = prices.to_mapping(prices.PriceList(models))
    assert prices.from_mapping(**written) == prices.PriceList(models)
    assert prices.parse(yaml.safe_dump(written), "prices.yml") == prices.PriceList(models)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.decimals() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(Config.__struct_fields__) | NAMES, inner)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(Config.__struct_fields__) | NAMES, PLAIN, max_size=4))
def test_any_mapping_loads_or_is_refused_in_one_line(mapping: dict[str, Any]) -> None:
    try:
        config = from_mapping(mapping)
    except ConfigError as error:
        refused = str(error)
    else:
        assert from_mapping(to_mapping(config)) == config
        return
    assert refused.isprintable()


@settings(deadline=None)
@given(st.text(st.sampled_from("ab: -[]{}#&*!|>'\"%@`,?\n\t\\\x00\ufeff0.1_e~<=")) | st.text())
def test_any_text_loads_or_is_refused_in_one_line(text: str) -> None:
    try:
        parse(text, "limits.yml")
    except ConfigError as error:
        refused = str(error)
    else:
        return
    assert refused.isprintable()


def test_the_bounds_of_a_number_cost_nothing_to_look_at_however_it_is_written() -> None:
    bounds = Bounds(0, 10, above=False, decimals=9)
    huge = ["1E+999999", "1E-999999", "9" * 40, "0." + "0" * 40 + "1", "NaN", "-Infinity", "-1", "10.0000000001"]
    assert not any(bounds.hold(Decimal(text)) for text in huge)
    assert all(bounds.hold(Decimal(text)) for text in ("0", "10", "10.0000000000", "0.000000001"))
