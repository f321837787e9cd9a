"""prices.yml: exact or an error, and nothing is free that is not written down as free; and how a price is found."""

import gc
import weakref
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.errors import ConfigError
from tallystick.config.prices import (
    PROJECT_FILE,
    Found,
    ModelPrice,
    Names,
    PriceList,
    Provider,
    Published,
    PublishedModel,
    Tier,
    Tokens,
    far_from_published,
    find_prices,
    from_mapping,
    load_prices,
    parse,
    to_mapping,
)


def test_the_packaged_file_says_nothing_that_the_published_prices_know() -> None:
    assert load_prices(None) == PriceList()


def test_a_file_is_taken_as_it_is_written(tmp_path: Path) -> None:
    file = tmp_path / "prices.yml"
    file.write_text("prices: {my-local-model: {input: 0, output: 0}}", encoding="utf-8")
    assert load_prices(file) == PriceList({"my-local-model": ModelPrice(0, 0, 0)})


def test_cached_input_costs_what_input_does_where_nothing_else_is_said() -> None:
    assert from_mapping({"m": {"input": "0.000000001", "output": 2}}).models["m"] == ModelPrice(1, 2_000_000_000, 1)


def test_a_list_is_written_as_exact_dollars_per_million_tokens_sorted_by_model() -> None:
    prices = from_mapping({"b": {"input": 1, "output": 2, "cached_input": 0.1}, "a": {"input": 0.3, "output": 0}})
    written = to_mapping(prices)["prices"]
    assert list(written) == ["a", "b"]
    assert written["b"] == {"input": "1.00", "output": "2.00", "cached_input": "0.10"}


DOLLARS = "allowed is a number from 0 to 9223372036, with at most 9 decimals"
CASES = {
    "prices:\n  m: {input: 1, output: -2}": f"prices.yml:2:25: prices.m.output: found -2, {DOLLARS}",
    "prices:\n  m: {input: 1e-10, output: 2}": f"prices.yml:2:14: prices.m.input: found '1e-10', {DOLLARS}",
    "prices: {m: {input: free, output: 2}}": f"prices.yml:1:21: prices.m.input: found 'free', {DOLLARS}",
    "prices: {m: {input: 1}}": f"prices.yml:1:13: prices.m.output: this key is missing; {DOLLARS}",
    "prices: {m: {input: 1, output: 2, cached: 1}}": (
        "prices.yml:1:35: prices.m.cached: unknown key; did you mean 'cached_input'? (allowed: input, output, cached_input,"
        " cache_write, cache_write_1h, audio_input, audio_output, tiers)"
    ),
    "price: {}": "prices.yml:1:1: price: unknown key; did you mean 'prices'? (allowed: prices)",
    "": "prices.yml: prices: this key is missing; allowed is a map",
}


@pytest.mark.parametrize(("text", "line"), CASES.items(), ids=[repr(text[:40]) for text in CASES])
def test_a_mistake_is_one_line_that_says_where_what_and_what_instead(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "prices.yml")
    assert str(caught.value) == line


def test_a_mapping_has_no_lines_but_the_same_errors() -> None:
    with pytest.raises(ConfigError, match=r"^prices\.m: found nothing|^prices\.m\.input: this key is missing"):
        from_mapping({"m": {}})


# --- which file ------------------------------------------------------------------------------------------------------


def test_the_file_is_the_named_one_then_the_environments_then_the_projects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_prices(None, {}) is None
    PROJECT_FILE.parent.mkdir(parents=True)
    PROJECT_FILE.touch()
    assert find_prices(None, {}) == PROJECT_FILE
    assert find_prices(None, {"TALLYSTICK_PRICES": "mine.yml"}) == Path("mine.yml")
    assert find_prices("named.yml", {"TALLYSTICK_PRICES": "mine.yml"}) == Path("named.yml")


# --- finding a price -------------------------------------------------------------------------------------------------


def price(sent: int, output: int, cached: int | None = None, *tiers: Tier) -> ModelPrice:
    return ModelPrice(sent, output, sent if cached is None else cached, tiers)


LONG = price(2_000, 8_000, 500, Tier(100, 4_000, 9_000, 1_000), Tier(200, 6_000, 9_500, 2_000))
PUBLISHED = Published(
    "collected 1.0",
    {
        "acme": Provider(
            Names(starts_with=("acme-",), contains=("anvil",)),
            {
                "acme-small": PublishedModel(price(1_000, 2_000), Names(equals=("acme-small", "acme-s"))),
                "acme-large": PublishedModel(price(9_000, 90_000), Names(starts_with=("acme-large",))),
                "acme-dated": PublishedModel(price(3_000, 3_000), Names(equals=("acme-dated-2026-03-04",))),
                "acme-2": PublishedModel(price(4_000, 4_000), Names(regex=(r"^acme-2(-\d{8})?$",))),
                "embed-1": PublishedModel(price(7, 7), Names(equals=("embed-1",))),
            },
        ),
        "roadrunner": Provider(
            Names(ends_with=(":fast",)),
            {
                "long": PublishedModel(LONG, Names(equals=("long:fast",))),
                "acme-small": PublishedModel(price(50, 60), Names(equals=("acme-small",))),
            },
        ),
        "coyote": Provider(Names(), {"odd/one": PublishedModel(price(5, 5), Names(equals=("odd/one",)))}),
    },
)
LIST = PriceList({"own": price(0, 0), "acme-large": price(8_000, 80_000)}, PUBLISHED)


@pytest.mark.parametrize(
    ("name", "provider", "id"),
    [
        ("acme-small", None, "acme-small"),
        ("ACME-S", None, "acme-small"),
        ("acme-2-20260304", None, "acme-2"),
        ("acme-dated-2026-03-04", None, "acme-dated"),
        ("acme-dated-20260304", None, "acme-dated"),
        ("long:fast", None, "long"),
        ("long:fast", "roadrunner", "long"),
        ("embed-1", None, "embed-1"),
        ("odd/one", "coyote", "odd/one"),
        ("odd/one", None, "odd/one"),
        ("acme-small", "an unheard-of proxy", "acme-small"),
        ("own", None, "own"),
        ("own", "acme", "own"),
    ],
)
def test_a_model_is_found_by_any_name_that_it_has(name: str, provider: str | None, id: str) -> None:
    found = LIST.find(name, provider)
    assert found is not None
    assert found.id == id


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("acme-3", None),
        ("acme-dated", "roadrunner"),
        ("long:fast", "acme"),
        ("acme-dated-20261304", None),
        ("ACME-2-2026", None),
        ("Own", None),
        ("", None),
    ],
)
def test_a_name_that_is_nobodys_is_unknown(name: str, provider: str | None) -> None:
    assert LIST.find(name, provider) is None


def test_a_provider_that_is_named_has_prices_of_its_own() -> None:
    small = LIST.find("acme-small", "roadrunner")
    assert small == Found("acme-small", price(50, 60), "roadrunner", written=False)
    assert LIST.find("acme-small") == Found("acme-small", price(1_000, 2_000), "acme", written=False)


def test_a_written_price_wins_whatever_the_model_is_called() -> None:
    written = Found("acme-large", price(8_000, 80_000), None, written=True)
    assert (
        LIST.find("acme-large") == LIST.find("Acme-Large-2026-03-04") == LIST.find("acme-large-v2", "acme") == written
    )
    assert LIST.models["acme-large"] == written.price


def test_a_longer_request_pays_the_price_of_its_tier_for_all_of_its_tokens() -> None:
    million = 1_000_000
    assert LONG.cost(100, 0, 0) * million >= 100 * 2_000
    assert [LONG.at(tokens).input for tokens in (0, 100, 101, 200, 201)] == [2_000, 2_000, 4_000, 4_000, 6_000]
    long = ModelPrice(2 * million, 8 * million, 1 * million, (Tier(100, 4 * million, 9 * million, 3 * million),))
    assert long.cost(100, 10, 50) == 50 * 2 + 10 * 8 + 50 * 1
    assert long.cost(101, 10, 50) == 51 * 4 + 10 * 9 + 50 * 3


@pytest.mark.parametrize(
    ("name", "provider", "used", "most_expensive"),
    [
        ("acme-next", None, Tokens(1, 1), "acme-large"),
        ("the-anvil", None, Tokens(1, 1), "acme-large"),
        ("mystery", "roadrunner", Tokens(10), "long"),
        ("mystery", None, Tokens(10), "acme-large"),
        ("own-next", None, Tokens(10), "acme-large"),
    ],
)
def test_for_an_unknown_model_stands_the_most_expensive_of_its_provider_or_of_all(
    name: str, provider: str | None, used: Tokens, most_expensive: str
) -> None:
    found = LIST.most_expensive(name, provider, used)
    assert found is not None
    assert found.id == most_expensive


def test_of_an_empty_list_nothing_is_the_most_expensive() -> None:
    assert PriceList().most_expensive("mystery", None, Tokens(1, 1, 1)) is None


AMOUNT = st.integers(0, 10**6)
TIERS = st.lists(
    st.builds(Tier, above=st.integers(0, 1_000), input=AMOUNT, output=AMOUNT, cached_input=AMOUNT),
    max_size=2,
    unique_by=lambda t: t.above,
).map(lambda tiers: tuple(sorted(tiers, key=lambda tier: tier.above)))
PRICE = st.builds(ModelPrice, AMOUNT, AMOUNT, AMOUNT, TIERS)


@given(
    st.dictionaries(st.text("abc", min_size=1, max_size=3), PRICE, min_size=1, max_size=12),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
    st.integers(0, 10**7),
)
def test_no_known_model_would_have_cost_more_than_the_most_expensive(
    models: dict[str, ModelPrice], fresh: int, output: int, cached: int
) -> None:
    used = Tokens(fresh + cached, output, cached)
    most_expensive = PriceList(models).most_expensive("mystery", None, used)
    assert most_expensive is not None
    assert most_expensive.price.cost(*used) == max(one.cost(*used) for one in models.values())


def test_a_list_without_a_reference_is_gone_at_once() -> None:
    """A fleet that opens freezes what the collector knows: what only the collector could free would stay for good."""
    prices = from_mapping(**to_mapping(LIST))
    assert prices.find("acme-small") is not None
    assert prices.most_expensive("acme-next", None, Tokens(1, 1, 1)) is not None
    gone = weakref.ref(prices)
    gc.disable()
    try:
        del prices
        assert gone() is None
    finally:
        gc.enable()


# --- as the log keeps it ---------------------------------------------------------------------------------------------


def test_the_whole_list_survives_being_written_and_read() -> None:
    mapping = to_mapping(LIST)
    assert from_mapping(**mapping) == LIST
    long = mapping["published"]["providers"]["roadrunner"]["models"]["long"]
    assert long["tiers"][0] == {"above": 100, "input": "0.000004", "output": "0.000009", "cached_input": "0.000001"}
    assert long["names"] == {"equals": ["long:fast"]}


@pytest.mark.parametrize(
    "published",
    [
        {"source": "x"},
        {"source": "x", "providers": {"p": {"names": {"regex": ["("]}, "models": {}}}},
        {"source": "x", "providers": {"p": {"names": {"begins": ["a"]}, "models": {}}}},
        {
            "source": "x",
            "providers": {
                "p": {
                    "names": {},
                    "models": {"m": {"input": "NaN", "output": "1", "cached_input": "1", "names": {}}},
                }
            },
        },
    ],
)
def test_what_are_no_published_prices_is_an_error(published: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=r"^published: not published prices: "):
        from_mapping({}, published)


# --- what a written price leaves out ---------------------------------------------------------------------------------

TIERED = Published(
    "collected 1.0",
    {
        "acme": Provider(
            Names(starts_with=("acme-",)),
            {
                "acme-1": PublishedModel(
                    ModelPrice(
                        3_000,
                        15_000,
                        300,
                        (Tier(above=200, input=6_000, output=22_500, cached_input=600, cache_write=7_500),),
                        cache_write=3_750,
                        cache_write_1h=6_000,
                        audio_output=30_000,
                    )
                )
            },
        )
    },
)


def written(**price: object) -> ModelPrice:
    listed = from_mapping({"acme-1": price})
    return PriceList(listed.written, TIERED).models["acme-1"]


def test_a_written_price_keeps_the_published_tiers_and_rarer_prices_in_proportion() -> None:
    price = written(input="0.0000027", output="0.0000135", cached_input="0.00000027")
    assert (price.cache_write, price.cache_write_1h, price.audio_input, price.audio_output) == (
        3_375,
        5_400,
        None,
        27_000,
    )
    (tier,) = price.tiers
    assert (tier.above, tier.input, tier.output, tier.cached_input) == (200, 5_400, 20_250, 540)
    assert tier.cache_write == 6_750


def test_a_written_price_that_writes_tiers_has_no_others() -> None:
    assert written(input=1, output=2, tiers=[]).tiers == ()
    (tier,) = written(input=1, output=2, tiers=[{"above": 9, "input": 3, "output": 4}]).tiers
    assert (tier.above, tier.input, tier.cached_input) == (9, 3 * 10**9, 3 * 10**9)
    listed = from_mapping({"acme-1": {"input": 1, "output": 2, "tiers": []}})
    assert from_mapping(**to_mapping(listed)) == listed


def test_what_is_written_free_is_free_in_every_tier() -> None:
    price = written(input=0, output=0)
    assert price.cost(10**6, 10**6, 10, 10, 10, 10, 10) == 0


def test_tiers_must_rise() -> None:
    tiers = [{"above": 9, "input": 3, "output": 4}, {"above": 9, "input": 3, "output": 4}]
    with pytest.raises(ConfigError, match=r"tiers: found .*, allowed is tiers by rising `above`"):
        from_mapping({"m": {"input": 1, "output": 2, "tiers": tiers}})


@pytest.mark.parametrize(
    ("sent", "output", "warned"),
    [
        ("0.000003", "0.000015", []),
        ("0.0000003", "0.0000015", []),
        ("3", "15", ["input", "output"]),
        ("0.000003", "0", ["output"]),
        ("0.000000029", "0.000015", ["input"]),
    ],
)
def test_a_price_that_is_far_from_the_published_one_is_warned_of(sent: str, output: str, warned: list[str]) -> None:
    listed = PriceList(
        from_mapping({"acme-1": {"input": sent, "output": output}, "own": {"input": 0, "output": 0}}).written, TIERED
    )
    found = list(far_from_published(listed))
    assert [line.split(":")[0] for line in found] == [f"prices.acme-1.{name}" for name in warned]


# --- the parts of a request ------------------------------------------------------------------------------------------

PARTED = ModelPrice(
    10**9, 5 * 10**9, 10**8, (Tier(above=1_000, input=2 * 10**9, output=6 * 10**9, cached_input=2 * 10**8),),
    cache_write=2 * 10**9, cache_write_1h=3 * 10**9, audio_input=4 * 10**9, audio_output=9 * 10**9,
)  # fmt: skip


def test_each_part_of_a_request_has_its_price() -> None:
    # 100 fresh, 200 read, 300 written (100 for an hour), 50 heard; 80 written as text and 20 spoken.
    used = Tokens(650, 100, 200, 300, 100, 50, 20)
    assert PARTED.cost(*used) == 100_000 + 200 * 100 + 200 * 2_000 + 100 * 3_000 + 50 * 4_000 + 80 * 5_000 + 20 * 9_000


def test_what_has_no_price_of_its_own_costs_what_other_tokens_do() -> None:
    plain = ModelPrice(10**9, 5 * 10**9, 10**8)
    assert plain.cost(650, 100, 200, 300, 100, 50, 20) == plain.cost(650, 100, 200)
    short = ModelPrice(10**9, 5 * 10**9, 10**8, cache_write=2 * 10**9)
    assert short.cost(300, 0, 0, 300, 100) == short.cost(300, 0, 0, 300) == 600_000


def test_a_total_is_priced_at_the_base_tier() -> None:
    assert PARTED.cost(1_001) == 2_002_000
    assert PARTED.cost(1_001, base=True) == 1_001_000


@given(
    st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 10**13)
)
def test_a_price_is_rounded_up_once(fresh: int, output: int, cached: int, written: int, per_million: int) -> None:
    price = ModelPrice(per_million, per_million // 3, per_million // 10, cache_write=per_million * 2)
    exact = fresh * price.input + output * price.output + cached * price.cached_input + written * per_million * 2
    cost = price.cost(fresh + cached + written, output, cached, written)
    assert 0 <= cost * 10**6 - exact < 10**6
