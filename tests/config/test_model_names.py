"""Names as routers, clouds and catalogues write them, against the published prices of the library."""

import datetime as dt

import pytest
from genai_prices import data_snapshot
from hypothesis import given
from hypothesis import strategies as st

from tallystick.config.model_names import PROVIDERS, SELLERS, catalogued, spellings
from tallystick.config.price import Tokens
from tallystick.config.prices import ModelPrice, PriceList
from tallystick.config.published import published_prices
from tallystick.config.settings import Model

MIDNIGHT = dt.datetime(2026, 3, 4, tzinfo=dt.UTC)
LIST = PriceList({}, published_prices(MIDNIGHT.date()))
THEIRS = data_snapshot.get_snapshot()

NAMES = """
us.anthropic.claude-haiku-4-5-20251001-v1:0 = aws regional.anthropic.claude-haiku-4-5-20251001-v1:0
bedrock/us-east-1/anthropic.claude-3-5-sonnet-20241022-v2:0 = aws regional.anthropic.claude-3-5-sonnet-20241022-v2:0
bedrock/converse/eu.anthropic.claude-sonnet-4-20250514-v1:0 = aws regional.anthropic.claude-sonnet-4-20250514-v1:0
bedrock_converse/global.anthropic.claude-opus-4-5-20251101-v1:0 = aws global.anthropic.claude-opus-4-5-v1:0
bedrock/us-gov-west-1/anthropic.claude-3-5-sonnet-20240620-v1:0 = aws regional.anthropic.claude-3-5-sonnet-20240620-v1:0
bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0:200k = aws regional.anthropic.claude-sonnet-4-5-20250929-v1:0
apac.anthropic.claude-sonnet-4-20250514-v1:0 = aws regional.anthropic.claude-sonnet-4-20250514-v1:0
arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-3-haiku-20240307-v1:0 = aws regional.anthropic.claude-3-haiku-20240307-v1:0
bedrock/arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.anthropic.claude-sonnet-4-5-20250929-v1:0 = aws regional.anthropic.claude-sonnet-4-5-20250929-v1:0
bedrock/anthropic.claude-sonnet-4-5 = anthropic claude-sonnet-4-5
anthropic.claude-v2:1 = anthropic claude-2
amazon.nova-pro-v1:0 = aws amazon.nova-pro-v1:0
bedrock/us.amazon.nova-lite-v1:0 = aws amazon.nova-lite-v1:0
openrouter/amazon/nova-pro-v1 = aws amazon.nova-pro-v1:0
bedrock/us.meta.llama3-3-70b-instruct-v1:0 = aws meta.llama3-3-70b-instruct-v1:0
bedrock/us.deepseek.r1-v1:0 = aws deepseek.r1-v1:0
anthropic/claude-sonnet-4-5 = anthropic claude-sonnet-4-5
anthropic/claude-3.7-sonnet:thinking = anthropic claude-3-7-sonnet-latest
anthropic:claude-opus-4-1 = anthropic claude-opus-4-1
claude-sonnet-4-5@20250929 = anthropic claude-sonnet-4-5
claude-4.5-sonnet = anthropic claude-sonnet-4-5
claude-3-5-sonnet-latest = anthropic claude-3-5-sonnet
Claude-Opus-4-20250514 = anthropic claude-opus-4-0
litellm_proxy/anthropic/claude-opus-4-1-20250805 = anthropic claude-opus-4-1
vercel_ai_gateway/anthropic/claude-sonnet-4.5 = anthropic claude-sonnet-4-5
openrouter/anthropic/claude-sonnet-4.5 = anthropic claude-sonnet-4-5
vertex_ai/claude-sonnet-4-5@20250929 = google claude-sonnet-4-5
vertex_ai/claude-3-5-sonnet-v2@20241022 = google claude-3-5-sonnet
projects/p/locations/us-central1/publishers/anthropic/models/claude-opus-4-5@20251101 = anthropic claude-opus-4-5
gemini/gemini-2.5-pro = google gemini-2.5-pro
vertex_ai/gemini-2.5-pro = google gemini-2.5-pro
google/gemini-2.5-pro-preview-05-06 = google gemini-2.5-pro
google-vertex:gemini-2.5-pro = google gemini-2.5-pro
google-gla:gemini-2.5-flash = google gemini-2.5-flash
models/gemini-2.5-flash-lite = google gemini-2.5-flash-lite
publishers/google/models/gemini-2.5-flash = google gemini-2.5-flash
openrouter/google/gemini-2.5-pro = google gemini-2.5-pro
gemini-2-5-pro = google gemini-2.5-pro
azure/gpt-4o = openai gpt-4o
azure/eu/gpt-4o-2024-08-06 = openai gpt-4o
azure/global-standard/gpt-4o-mini = openai gpt-4o-mini
azure/gpt-35-turbo = openai gpt-3.5-turbo
azure/o3-mini = azure o3-mini
azure_ai/deepseek-r1 = deepseek deepseek-reasoner
openai/gpt-4o-mini = openai gpt-4o-mini
openai:gpt-4o = openai gpt-4o
openai/responses/gpt-5 = openai gpt-5
openai/ft:gpt-4o-mini-2024-07-18:my-org::abc = openai ft:gpt-4o-mini
ft:gpt-4o-2024-08-06:org:x:1 = openai ft:gpt-4o
openrouter/openai/gpt-4o-mini:nitro = openai gpt-4o-mini
gpt-4o-2024-05-13 = openai gpt-4o-2024-05-13
gpt-4o-latest = openai gpt-4o
GPT-4O = openai gpt-4o
gpt-4.1-2025-04-14 = openai gpt-4.1
o3-mini-2025-01-31 = openai o3-mini
acme-proxy/gpt-4o = openai gpt-4o
openai/text-embedding-3-large = openai text-embedding-3-large
openrouter/meta-llama/llama-3.3-70b-instruct = openrouter meta-llama/llama-3.3-70b-instruct
openrouter/qwen/qwen3-32b = openrouter qwen/qwen3-32b
openrouter/x-ai/grok-4 = x-ai grok-4-0709
openrouter/deepseek/deepseek-chat = deepseek deepseek-chat
openrouter/mistralai/mistral-large = mistral mistral-large
openrouter/z-ai/glm-4.6 = zai GLM-4.6
openrouter/moonshotai/kimi-k2-thinking = moonshotai kimi-k2-thinking
groq/llama-3.3-70b-versatile = groq llama-3.3-70b-versatile
groq/openai/gpt-oss-120b = groq openai/gpt-oss-120b
together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo = together meta-llama/Llama-3.3-70B-Instruct-Turbo
fireworks_ai/accounts/fireworks/models/deepseek-v3p2 = fireworks deepseek-v3p2
xai/grok-4-latest = x-ai grok-4-0709
mistral/mistral-large-latest = mistral mistral-large
codestral/codestral-latest = mistral codestral
deepseek/deepseek-chat = deepseek deepseek-chat
cohere_chat/command-r-08-2024 = cohere command-r
perplexity/sonar-pro = perplexity sonar-pro
cerebras/gpt-oss-120b = cerebras gpt-oss-120b
databricks/databricks-gpt-oss-120b = databricks databricks-gpt-oss-120b
github_copilot/claude-sonnet-4.6 = github-copilot claude-sonnet-4.6
moonshot/kimi-k2-0905-preview = moonshotai kimi-k2-0905-preview
zai/glm-4.6 = zai GLM-4.6
voyage/voyage-3-large = voyageai voyage-3-large
minimax/MiniMax-M2 = minimax MiniMax-M2
cf/@cf/meta/llama-3.1-8b-instruct = cloudflare @cf/meta/llama-3.1-8b-instruct
"""
TABLE = [tuple(line.split(" = ")) for line in NAMES.strip().splitlines()]


@pytest.mark.parametrize(("name", "meant"), TABLE, ids=[name for name, _ in TABLE])
def test_a_name_as_it_is_written_somewhere_is_found_at_the_published_price(name: str, meant: str) -> None:
    provider, id = meant.split(" ", 1)
    found = LIST.find(name)
    assert found is not None
    assert (found.provider, found.id) == (provider, id)
    theirs = next(one for one in THEIRS.providers if one.id == provider)
    model = next(model for model in theirs.models if model.id == id)
    # Of prices by the hour the highest counts.
    prices = [model.get_prices(MIDNIGHT + dt.timedelta(hours=hour)) for hour in (0, 12)]
    for ours, key in ((found.price.input, "input_mtok"), (found.price.output, "output_mtok")):
        published = [getattr(price, "base", price) for one in prices if (price := getattr(one, key)) is not None]
        if published:
            assert ours == max(published) * 10**9


def test_the_table_has_the_sixty_names_that_were_asked_for() -> None:
    assert len(dict(TABLE)) == len(TABLE) >= 60


@pytest.mark.parametrize("name", [name for name, _ in TABLE])
def test_the_label_of_what_was_found_finds_it_again(name: str) -> None:
    found = LIST.find(name)
    assert found is not None
    assert LIST.find(LIST.label(found)) == found


@pytest.mark.parametrize(
    ("name", "id"),
    [
        ("azure/gpt-4o", "gpt-4o"),
        ("openrouter/anthropic/claude-sonnet-4.5", "claude-sonnet-4-5"),
        ("openai/mine", "mine"),
    ],
)
def test_a_written_price_holds_under_every_name_of_its_model(name: str, id: str) -> None:
    written = PriceList({id: ModelPrice(1, 2, 3)}, LIST.published)
    found = written.find(name)
    assert found is not None
    assert (found.id, found.written, found.price.input) == (id, True, 1)


def test_another_model_of_a_written_familys_name_keeps_its_price() -> None:
    written = PriceList({"gpt-4o": ModelPrice(1, 2, 3)}, LIST.published)
    found = written.find("gpt-4o-2024-05-13")
    assert found is not None
    assert not found.written


def test_the_catalogue_names_a_model_by_alias_and_by_just_its_id() -> None:
    models = {"a": Model("aws", "x-1"), "b": Model("azure", "x-1"), "x-2": Model("google", "x-3")}
    known = catalogued(models)
    assert known == {
        "x-1": ("x-1", "aws"),
        "x-3": ("x-3", "google"),
        "a": ("x-1", "aws"),
        "b": ("x-1", "azure"),
        "x-2": ("x-3", "google"),
    }
    assert LIST.find("us.anthropic.claude-haiku-4-5-20251001-v1:0", "aws") is not None


def test_a_provider_that_sells_a_makers_models_has_them_at_the_makers_price() -> None:
    assert LIST.find("gpt-4o", "azure") == LIST.find("gpt-4o")
    assert LIST.find("gpt-4o", "mistral") is None
    assert set(PROVIDERS.values()) >= SELLERS


UNKNOWN = ["claude-next-9", "us.anthropic.claude-next-9", "azure/gpt-99", "openrouter/openai/gpt-99", "mystery/model-1",
           "gemini/gemini-99", "bedrock/us.meta.llama99-v1:0", "ollama/llama3", "groq/nothing", "x", "", "/", "a/" * 50]  # fmt: skip


@given(
    st.sampled_from(UNKNOWN),
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**5),
    st.integers(0, 10**5),
    st.dictionaries(
        st.sampled_from(["mine", "local-llama", "claude-opus-4-1", "gpt-4o"]), st.just(ModelPrice(0, 0, 0))
    ),
)
def test_nothing_unknown_is_cheaper_than_the_cheapest_known_model_of_its_provider(
    name: str, sent: int, output: int, cached: int, written: int, free: dict[str, ModelPrice]
) -> None:
    used = Tokens(sent + cached + written, output, cached, written)
    prices = PriceList(free, LIST.published)
    assert prices.find(name) is None
    stand_in = prices.most_expensive(name, None, used)
    assert stand_in is not None
    owners = [owner for owner in prices._providers_of(name, None) if owner in prices.published.providers]
    known = [
        model.price
        for owner in owners or prices.published.providers
        for model in prices.published.providers[owner].models.values()
    ]
    cost = stand_in.price.cost(*used)
    assert cost >= min(price.cost(*used) for price in known)
    assert cost > 0 or not (used.input or used.output)


@given(st.text(max_size=200), st.booleans())
def test_any_text_is_a_name(name: str, loose: bool) -> None:
    assert len(list(spellings(name, loose=loose))) < 2_000
    PriceList({}, LIST.published).find(name)
