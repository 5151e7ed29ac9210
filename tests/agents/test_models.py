"""Which chat model serves a tier, and the clients that are made for it."""

import asyncio
from typing import Any

import pytest
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from troupe import SettingsError, SimulatedChatModel, UnknownName, scripted
from troupe.agents.models import Models, is_simulated
from troupe.agents.settings import Provider, Settings

MODEL = scripted(["x"])


def settings(**values: Any) -> Settings:
    return Settings.load(**values)


@pytest.mark.parametrize(
    ("given", "tiers"),
    [
        ("openai:a", {"economy": "openai:a", "standard": "openai:a", "premium": "openai:a"}),
        ({"economy": "x:e"}, {"economy": "x:e", "standard": "x:e", "premium": "x:e"}),
        ({"premium": "x:p"}, {"economy": "x:p", "standard": "x:p", "premium": "x:p"}),
        ({"economy": "x:e", "premium": "x:p"}, {"economy": "x:e", "standard": "x:p", "premium": "x:p"}),
        ({"economy": "x:e", "standard": "x:s"}, {"economy": "x:e", "standard": "x:s", "premium": "x:s"}),
        (MODEL, {"economy": MODEL, "standard": MODEL, "premium": MODEL}),
        ({"economy": MODEL, "standard": "x:s"}, {"economy": MODEL, "standard": "x:s", "premium": "x:s"}),
        (None, {"economy": "simulated", "standard": "simulated", "premium": "simulated"}),
    ],
)
def test_a_tier_without_a_model_takes_the_nearest_the_better_one_first(given: Any, tiers: Any) -> None:
    assert Models(given, settings()).chosen == tiers


def test_what_is_given_goes_before_the_settings() -> None:
    chosen = settings(model="x:set", tier_premium="x:premium")
    assert Models(None, chosen).chosen == {"economy": "x:set", "standard": "x:set", "premium": "x:premium"}
    assert Models("x:given", chosen).chosen["premium"] == "x:given"


@pytest.mark.parametrize("given", ["gpt-5", "openai:", ":x", "", 5, object(), ["openai:a"]])
def test_what_is_no_model_is_refused(given: Any) -> None:
    with pytest.raises(SettingsError, match="model"):
        Models(given, settings())


def test_a_tier_that_does_not_exist_is_refused() -> None:
    with pytest.raises(UnknownName, match=r"Unknown tier 'premum'. Did you mean 'premium'\?"):
        Models({"premum": "x:y"}, settings())


def test_only_what_calls_nothing_is_simulated() -> None:
    assert is_simulated("simulated") and is_simulated("simulated:3") and is_simulated(MODEL)
    assert is_simulated(SimulatedChatModel())
    assert not is_simulated("openai:simulated") and not is_simulated("simulated-not:x")
    assert Models(None, settings()).simulated
    assert not Models({"economy": "simulated", "premium": "openai:x"}, settings()).simulated


def test_specs_are_kept_to_run_again_and_objects_cannot_be() -> None:
    assert Models({"premium": "x:p"}, settings()).specs == {"economy": "x:p", "standard": "x:p", "premium": "x:p"}
    assert Models(MODEL, settings()).specs is None
    assert Models({"economy": MODEL, "standard": "x:s"}, settings()).specs is None


async def test_in_a_simulated_run_an_agents_own_model_is_simulated_too() -> None:
    model = await Models(None, settings()).get("standard", "openai:gpt-5")
    assert isinstance(model, SimulatedChatModel)
    assert await Models(MODEL, settings()).get("standard", "openai:gpt-5") is MODEL


async def test_an_own_model_that_calls_nothing_is_used_in_every_run() -> None:
    assert await Models(None, settings()).get("standard", MODEL) is MODEL
    assert getattr(await Models(None, settings()).get("standard", "simulated:7"), "seed", None) == 7


async def test_in_a_real_run_an_agents_own_model_goes_before_its_tiers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test-0000")
    models = Models("openai:tier", settings())
    own: Any = await models.get("standard", "openai:own")
    tier: Any = await models.get("standard")
    assert (own.model_name, tier.model_name) == ("own", "tier")
    assert await models.get("standard", MODEL) is MODEL


async def test_a_client_leaves_retries_to_us_and_asks_for_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test-0000")
    model: Any = await Models("openai:gpt-5-mini", settings(timeout=7)).get("standard")
    assert isinstance(model, ChatOpenAI)
    assert (model.max_retries, model.stream_usage, model.request_timeout) == (0, True, 7)
    assert "sk-of-the-test" not in repr(model)


async def test_one_client_serves_all_runs_of_an_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test-0000")
    chosen = settings()
    first, second = Models("openai:x", chosen), Models("openai:x", chosen)
    assert await first.get("standard") is await second.get("premium")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-key-0000")
    assert await Models("openai:x", chosen).get("standard") is not await first.get("standard")


def test_each_event_loop_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test-0000")
    chosen = settings()

    def made() -> Any:
        return asyncio.run(Models("openai:x", chosen).get("standard"))

    first, second = made(), made()
    assert first is not second and first.root_async_client is not second.root_async_client


async def test_a_chat_model_of_the_callers_is_not_changed() -> None:
    mine = ChatOpenAI(model="x", api_key=SecretStr("k"), base_url="http://127.0.0.1:1/v1", max_retries=6)
    client = mine.root_async_client
    used: Any = await Models(mine, settings()).get("standard")
    assert (mine.max_retries, mine.stream_usage, mine.root_async_client) == (6, None, client)
    assert (used.max_retries, used.stream_usage) == (0, True) and used.root_async_client is not client


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1/v1", "http://localhost:1/v1", "http://192.168.0.9:1/v1", "https://far.example/v1"]
)
async def test_a_provider_without_key_env_is_asked_without_a_key(url: str) -> None:
    models = Models("own:llama-3", settings(providers={"own": Provider(base_url=url)}))
    model: Any = await models.get("standard")
    assert model.openai_api_base == url


async def test_a_provider_whose_key_is_missing_names_the_variable_and_the_way_out() -> None:
    provider = Provider(base_url="http://127.0.0.1:1/v1", key_env="OWN_KEY")
    with pytest.raises(SettingsError, match=r"OWN_KEY \(or remove key_env from \[providers.own\]\)"):
        await Models("own:llama-3", settings(providers={"own": provider})).get("standard")


async def test_openai_elsewhere_needs_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://far.example/v1")
    with pytest.raises(SettingsError, match="OPENAI_API_KEY"):
        await Models("openai:x", settings()).get("standard")


async def test_a_setting_named_like_a_provider_of_ours_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = Provider(base_url="http://127.0.0.1:1/v1")
    model: Any = await Models("openai:x", settings(providers={"openai": provider})).get("standard")
    assert model.openai_api_base == "http://127.0.0.1:1/v1"
