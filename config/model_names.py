"""How routers, clouds and catalogues write the name of a model, and what in it only says where the model runs.

``bedrock/us.anthropic.claude-haiku-4-5-20251001-v1:0``, ``openrouter/anthropic/claude-haiku-4.5:beta``,
``claude-haiku-4-5@20251001``: the model is the same. `spellings` gives the names under which a price list may know it,
the most literal first. Nothing here knows a model; what is found, and at which price, is the list's to say.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

from tallystick.config.settings import Model

PROVIDERS: Final = {
    "anthropic": "anthropic",
    "claude": "anthropic",
    "arcee": "arcee",
    "arcee-ai": "arcee",
    "amazon": "aws",
    "amazon-bedrock": "aws",
    "aws": "aws",
    "aws-bedrock": "aws",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "bedrock_mantle": "aws",
    "azure": "azure",
    "azure-openai": "azure",
    "azure-ai-foundry": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "azure_text": "azure",
    "baseten": "baseten",
    "cerebras": "cerebras",
    "cf": "cloudflare",
    "cloudflare": "cloudflare",
    "workers-ai": "cloudflare",
    "cohere": "cohere",
    "cohere_chat": "cohere",
    "cursor": "cursor",
    "databricks": "databricks",
    "deepseek": "deepseek",
    "deepseek-ai": "deepseek",
    "doubleword": "doubleword",
    "elevenlabs": "elevenlabs",
    "fireworks": "fireworks",
    "fireworks-ai": "fireworks",
    "fireworks_ai": "fireworks",
    "github-copilot": "github-copilot",
    "github_copilot": "github-copilot",
    "gemini": "google",
    "google": "google",
    "google-ai-studio": "google",
    "google-gla": "google",
    "google-vertex": "google",
    "google-vertex-ai": "google",
    "google_ai_studio": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "palm": "google",
    "vertex": "google",
    "vertex-ai": "google",
    "vertex_ai": "google",
    "vertex_ai_beta": "google",
    "groq": "groq",
    "meta": "meta",
    "meta_llama": "meta",
    "minimax": "minimax",
    "codestral": "mistral",
    "mistral": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "moonshotai": "moonshotai",
    "novita": "novita",
    "openai": "openai",
    "openai-chat": "openai",
    "openai-responses": "openai",
    "text-completion-openai": "openai",
    "openrouter": "openrouter",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "together": "together",
    "together-ai": "together",
    "together_ai": "together",
    "togetherai": "together",
    "voyage": "voyageai",
    "voyageai": "voyageai",
    "grok": "x-ai",
    "x-ai": "x-ai",
    "xai": "x-ai",
    "z-ai": "zai",
    "zai": "zai",
    "zai-org": "zai",
    "zhipu": "zhipuai",
    "zhipuai": "zhipuai",
}
"""What is written before a name, and whose prices are meant: clouds and vendors of models, by their id in the list."""

SELLERS: Final = frozenset({"aws", "azure", "baseten", "databricks", "github-copilot", "google", "openrouter"})
"""Who sells models of others at their makers' prices, where it has no price of its own."""

ROUTERS: Final = frozenset(
    {"aimlapi", "aihubmix", "helicone", "kilocode", "litellm", "litellm_proxy", "llmgateway", "martian", "opencode",
     "portkey", "requesty", "unify", "vercel", "vercel_ai_gateway", "zenmux"}
)  # fmt: skip
"""What is written before a name, and says nothing of the price."""

_PLACE: Final = re.compile(
    r"(?:[a-z]{2}(?:-[a-z]+)+-\d[a-z]?|us|eu|apac|global|global-standard|data-zone|datazone|standard|priority|flex|batch"
    r"|\d+-month-commitment|converse|converse_like|invoke|responses|chat|completions?|embeddings?|models|publishers"
    r"|projects/[^/]+|locations/[^/]+|deployments|arn:aws[^/]*)(?=/)/"
)
"""Steps of a path that name a region, a way of buying or an endpoint."""
_REGION: Final = re.compile(r"^(?:us|eu|apac|ap|au|ca|global|in|jp|sa|uk|us-gov|regional)\.(?=[a-z0-9]+\.)")
_MAKER: Final = re.compile(
    r"^(ai21|amazon|anthropic|cohere|deepseek|google|luma|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen"
    r"|stability|twelvelabs|writer|zai)\.(?=[a-z])"
)
_BEDROCK_VERSION: Final = re.compile(r"-v\d+(?::\d+(?::\d+k)?)?$|:\d+$")
_VARIANT: Final = re.compile(
    r":(?:free|beta|nitro|floor|exacto|extended|online|thinking|latest|default|high|low|medium|priority|flex|batch"
    r"|\d+k?)$"
)
_AT: Final = re.compile(r"@(?:(\d{8})|[a-z0-9._-]*)$")
_COMPACT_DATE: Final = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=[-:]|$)")
_DATE: Final = re.compile(
    r"[-@]20\d\d(-?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?=$|[-:@])|[-@](?:latest|default)$|-maas$"
)
_DASHED: Final = re.compile(r"(?<![\d.])(\d{1,2})-(\d{1,2})(?![\d.])")
_DOTTED: Final = re.compile(r"(?<![\d.])(\d{1,2})\.(\d{1,2})(?![\d.])")
_CLAUDE: Final = re.compile(r"^claude-(\d+(?:[.-]\d{1,2})?)-(haiku|sonnet|opus)(?=$|-)")
_AMAZON: Final = re.compile(r"^(?:nova|titan)-")
_STEPS_MAX: Final = 12
_NAMES_REMEMBERED: Final = 4_096


def catalogued(models: Mapping[str, Model]) -> dict[str, tuple[str, str]]:
    """Id and provider of the models of the catalogue, by their alias and by just the id that it names."""
    by_id: dict[str, tuple[str, str]] = {}
    for model in models.values():
        by_id.setdefault(model.id, (model.id, model.provider))
    return by_id | {alias: (model.id, model.provider) for alias, model in models.items()}


def one_name(models: Mapping[str, Model]) -> Callable[[str], str]:
    """The function that gives the one name of a model, however routers and clouds write it: the id in the catalogue,
    where that knows one of its spellings, else what is left without what only says where it runs. It does not ask the
    price list, which changes.
    """
    known = catalogued(models)

    @lru_cache(_NAMES_REMEMBERED)
    def name(model: str) -> str:
        for loose in (False, True):
            for spelling in spellings(model, loose=loose):
                if spelling.name in known:
                    return known[spelling.name][0]
        *_, (_, rest) = _stages(model)
        return _forms(rest, loose=False)[-1]

    return name


def provider_of(model: str) -> str | None:
    """The provider that a name itself names: where the model runs, before who made it. None where it names none."""
    named = providers_named(model)
    return named[0] if named else None


ANY: Final = "*"
"""In place of a provider: whichever has a model of just this id."""


class Spelling(NamedTuple):
    """A name that a model may have in a list: of ``provider``; of the one that the name tells where that is None."""

    provider: str | None
    name: str


def spellings(model: str, *, loose: bool = False) -> Iterator[Spelling]:
    """The names that a model may be known by, each once: as it is written, and without what says where it runs.

    The order is: what the whole name tells; the providers that are written before a name, the one that sells before the
    one that made the model; what the rest of the name tells; the id alone. ``loose`` gives those that remain where that
    finds nothing: without a date or a version, with dots for dashes.
    """
    seen: set[Spelling] = set()
    for spelling in _spelled([(named, _forms(name, loose)) for named, name in _stages(model)]):
        if spelling not in seen:
            seen.add(spelling)
            yield spelling


def _spelled(stages: list[tuple[tuple[str, ...], list[str]]]) -> Iterator[Spelling]:
    yield Spelling(None, stages[0][1][0])
    for named, names in stages:
        yield from (Spelling(provider, name) for name in names for provider in named)
    for provider in (None, ANY):
        yield from (Spelling(provider, name) for _, names in stages for name in names)


def _forms(name: str, loose: bool) -> list[str]:
    return list(dict.fromkeys(_loosened(name) if loose else _undecorated(name)))


def providers_named(model: str) -> tuple[str, ...]:
    """The providers that a name itself names, the one that sells before the one that made the model."""
    *_, (named, _) = _stages(model)
    return named


def _stages(model: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is left of a name step by step, and the providers that it has named so far."""
    owners: tuple[str, ...] = ()
    rest = model.strip()
    yield _made(owners, rest), rest
    for _ in range(_STEPS_MAX):
        place = _PLACE.match(rest.lower())
        if place is not None:
            if "arn:aws" in place[0]:
                owners = (*owners, "aws")
            rest = rest[place.end() :]
        else:
            head, found, tail = _first(rest)
            word = head.lower().lstrip("~@")
            if not found or not tail:
                return
            if word in PROVIDERS:
                owners = (*owners, PROVIDERS[word])
            rest = tail
        yield _made(owners, rest), rest


def _made(owners: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The providers that are written before a name, and those that it begins with itself."""
    if name.lower().startswith("ft:"):
        return (*owners, "openai")
    maker = _maker(name)
    return owners if maker is None else (*owners, "aws", maker)


def _first(name: str) -> tuple[str, str, str]:
    """A name up to its first slash, or to a colon before that behind which a provider's model stands."""
    head, slash, tail = name.partition("/")
    before, colon, behind = head.partition(":")
    word = before.lower()
    if colon and (word in PROVIDERS or word in ROUTERS):
        return before, colon, behind + slash + tail
    return head, slash, tail


def _maker(name: str) -> str | None:
    """Who made a model that a cloud names with its maker: ``us.anthropic.claude-…``."""
    found = _MAKER.match(_REGION.sub("", name.lower()))
    return None if found is None else PROVIDERS.get(found[1], found[1])


def _undecorated(name: str) -> Iterator[str]:
    """A name, and without what routers and clouds add to it."""
    yield name
    plain = _VARIANT.sub("", name)
    yield plain
    yield _AT.sub(lambda at: f"-{at[1]}" if at[1] else "", plain)
    if _maker(name) is not None:
        lowered = _REGION.sub("", name.lower())
        yield lowered
        lowered = _MAKER.sub("", lowered)
        yield lowered
        yield _BEDROCK_VERSION.sub("", lowered)
    if name.lower().startswith("gpt-35-"):
        yield "gpt-3.5-" + name[len("gpt-35-") :]


def _loosened(name: str) -> Iterator[str]:
    for one in _forms(name, loose=False):
        undated = _DATE.sub("", _BEDROCK_VERSION.sub("", one))
        for spelled in (_COMPACT_DATE.sub(r"-\1-\2-\3", one), undated, _CLAUDE.sub(r"claude-\2-\1", undated)):
            yield spelled
            yield _DASHED.sub(r"\1.\2", spelled)
            yield _DOTTED.sub(r"\1-\2", spelled)
        if _AMAZON.match(undated):
            yield f"amazon.{undated}"
