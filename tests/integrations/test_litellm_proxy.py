"""LiteLLM's proxy: what it is asked is asked for before it calls, at the account of the key that asks."""

import asyncio
import datetime as dt
import importlib.util
import socket
import threading
import uuid
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import litellm
    from litellm.caching import DualCache
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.utils import Rules, function_setup

from tallystick import Fleet
from tallystick.integrations.litellm import Budget, CallRefused
from tests.support.litellm_model import MESSAGES, Model, ended
from tests.support.programs import agents, fleet_of, holds, run, status, until

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydantic", "ignore::DeprecationWarning")
MODELS = [{"model_name": name, "litellm_params": {"model": f"mine/{name}"}} for name in ("a", "broken")]
KEY = f"sk-{uuid.uuid4().hex}"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    provider = Model()
    monkeypatch.setattr(litellm, "custom_provider_map", [{"provider": "mine", "custom_handler": provider}])
    monkeypatch.setattr(litellm, "suppress_debug_info", True)
    return provider


@pytest.fixture
def fleet(model: Model) -> Iterator[Fleet]:
    with fleet_of() as fleet, fleet.agent("proxy", tokens=100_000):
        litellm.callbacks = [Budget(fleet, "proxy", sub_agents={"tokens": 10_000}, wait_seconds=0)]
        yield fleet
        litellm.logging_callback_manager._reset_all_callbacks()
        assert holds(fleet) == []


async def asked(key: UserAPIKeyAuth, **more: Any) -> dict[str, Any]:
    """What the proxy does with a request before it routes it: it makes its record, and asks its callbacks."""
    data = {"model": "any", "messages": MESSAGES, "litellm_call_id": "the client's choice", **more}
    record, data = function_setup("acompletion", Rules(), dt.datetime.now(), **data)  # noqa: DTZ005
    data["litellm_logging_obj"] = record
    await litellm.callbacks[0].async_pre_call_hook(key, DualCache(), data, "acompletion")
    return data


def test_a_request_is_asked_for_once_at_the_account_of_its_key(fleet: Fleet, model: Model) -> None:
    router = litellm.Router([{"model_name": "any", "litellm_params": {"model": "mine/a"}}])

    async def program() -> None:
        for key in (UserAPIKeyAuth(key_alias="search", team_id="web"), UserAPIKeyAuth(user_id="ann")):
            # What a client says of itself names no account.
            requests = [await asked(key, metadata={"agent": "forged"}) for _ in range(2)]
            assert len(holds(fleet)) == 2
            await asyncio.gather(*(router.acompletion(**request) for request in requests))
            await ended(fleet)

    run(program())
    assert agents(fleet) == ["proxy", "proxy.ann", "proxy.search"]
    assert [status(fleet, name)["consumed"]["tokens"] for name in ("proxy.ann", "proxy.search")] == [30, 30]
    assert len(holds(fleet, "settled")) == 4
    assert {hold["labels"]["team"] for hold in holds(fleet, "settled") if hold["agent"] == "proxy.search"} == {"web"}


def test_the_next_attempt_is_made_at_the_same_account(fleet: Fleet, model: Model) -> None:
    deployments = [{**one, "model_name": name} for one, name in zip(MODELS, ("other", "any"), strict=True)]
    router = litellm.Router(deployments, num_retries=0, fallbacks=[{"any": ["other"]}])

    async def program() -> None:
        request = await asked(UserAPIKeyAuth(key_alias="search"), metadata={"agent": "forged"})
        await router.acompletion(**request)

    run(program())
    assert agents(fleet) == ["proxy", "proxy.search"]
    assert (len(holds(fleet, "cancelled")), len(holds(fleet, "settled"))) == (1, 1)


def test_a_refusal_is_one_that_the_proxy_knows(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        with pytest.raises(CallRefused, match="budget_exhausted") as refused:
            await asked(UserAPIKeyAuth(key_alias="search"), max_tokens=20_000)
        assert isinstance(refused.value, litellm.BudgetExceededError)
        assert refused.value.status_code == 422

    run(program())


def test_a_request_that_the_proxy_drops_after_it_asked_holds_nothing(fleet: Fleet, model: Model) -> None:
    async def program() -> None:
        request = await asked(UserAPIKeyAuth(key_alias="search"))
        assert len(holds(fleet)) == 1
        del request
        await ended(fleet)

    run(program())
    assert len(holds(fleet, "cancelled")) == 1


@pytest.fixture
def url(fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The proxy itself, on a port of its own."""
    if not all(map(importlib.util.find_spec, ("apscheduler", "backoff", "soundfile", "fastapi_sso"))):
        pytest.skip("the packages of LiteLLM's proxy are not installed: pip install 'litellm[proxy]'")
    import uvicorn  # noqa: PLC0415

    config = tmp_path / "config.yaml"
    config.write_text(f"{{model_list: {MODELS}, general_settings: {{master_key: {KEY}}}}}".replace("'", '"'))
    monkeypatch.setenv("CONFIG_FILE_PATH", str(config))
    monkeypatch.setenv("LITELLM_MASTER_KEY", KEY)
    from litellm.proxy.proxy_server import app  # noqa: PLC0415

    server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as place:
        thread = threading.Thread(target=server.run, args=([place],))
        thread.start()
        until(lambda: server.started)
        yield f"http://127.0.0.1:{place.getsockname()[1]}/v1/chat/completions"
        server.should_exit = True
        thread.join()


def test_the_proxy_itself_asks_settles_and_refuses(fleet: Fleet, model: Model, url: str) -> None:
    def post(**body: Any) -> httpx2.Response:
        body = {"model": "a", "messages": MESSAGES, "max_tokens": 50, **body}
        return httpx2.post(url, headers={"Authorization": f"Bearer {KEY}"}, json=body, timeout=60)

    refused = post(max_tokens=20_000)
    assert (refused.status_code, model.calls) == (422, 0)
    assert refused.json()["error"]["message"].startswith("budget_exhausted: tokens: 20003 was asked for")
    assert post().json()["usage"]["total_tokens"] == 15
    assert post(stream=True).text.endswith("data: [DONE]\n\n")
    assert post(model="broken").status_code == 500
    until(lambda: not holds(fleet))
    assert status(fleet, "proxy.default_user_id")["consumed"]["tokens"] == 30
