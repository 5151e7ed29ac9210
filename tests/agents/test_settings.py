"""Settings: an argument goes before the environment, that before the project's file, that before the default."""

import asyncio
from pathlib import Path

import pytest

from troupe import Brief, SettingsError, agent, run, sequential
from troupe.agents.settings import Settings, project_file


def toml(folder: Path, text: str, name: str = "troupe.toml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return folder / name


def test_without_anything_the_defaults_hold_and_no_model_is_chosen() -> None:
    settings = Settings.load()
    assert (settings.model, settings.timeout, settings.retries, settings.max_concurrency) == (None, 120.0, 3, 32)
    assert settings.tiers() == {} and settings.providers == {}


def test_an_argument_goes_before_the_environment_and_that_before_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Settings.load().timeout == 120
    toml(tmp_path, "timeout = 30\nretries = 1")
    assert Settings.load().timeout == 30
    monkeypatch.setenv("TROUPE_TIMEOUT", "20")
    assert Settings.load().timeout == 20
    assert Settings.load(timeout=10).timeout == 10
    assert Settings.load(timeout=10).retries == 1


def test_an_empty_variable_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, 'model = "openai:gpt-5-mini"')
    monkeypatch.setenv("TROUPE_MODEL", "")
    assert Settings.load().model == "openai:gpt-5-mini"


def test_the_nearest_file_upwards_counts_and_only_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, "timeout = 30\nretries = 1")
    inner = tmp_path / "a" / "b"
    nearest = toml(tmp_path / "a", "timeout = 40")
    inner.mkdir()
    monkeypatch.chdir(inner)
    assert project_file() == nearest
    assert (Settings.load().timeout, Settings.load().retries) == (40, 3)


def test_a_pyproject_counts_where_it_speaks_of_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, "[tool.troupe]\ntimeout = 50\n[tool.troupe.tiers]\npremium = 'openai:gpt-5'", "pyproject.toml")
    toml(tmp_path / "inner", "[tool.other]\ntimeout = 1", "pyproject.toml")
    monkeypatch.chdir(tmp_path / "inner")
    assert Settings.load().timeout == 50
    assert Settings.load().tiers() == {"premium": "openai:gpt-5"}


def test_our_own_file_goes_before_a_pyproject_beside_it(tmp_path: Path) -> None:
    toml(tmp_path, "[tool.troupe]\ntimeout = 50", "pyproject.toml")
    toml(tmp_path, "timeout = 60")
    assert Settings.load().timeout == 60


def test_tiers_and_providers_are_tables(tmp_path: Path) -> None:
    toml(
        tmp_path,
        """
        model = "openai:gpt-5-mini"
        [tiers]
        premium = "local:large"
        [providers.local]
        base_url = "http://127.0.0.1:8000/v1"
        key_env = "LOCAL_API_KEY"
        """,
    )
    settings = Settings.load()
    assert settings.tiers() == {
        "economy": "openai:gpt-5-mini",
        "standard": "openai:gpt-5-mini",
        "premium": "local:large",
    }
    assert (settings.providers["local"].base_url, settings.providers["local"].key_env) == (
        "http://127.0.0.1:8000/v1",
        "LOCAL_API_KEY",
    )


def test_a_tier_of_the_environment_goes_before_that_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toml(tmp_path, '[tiers]\npremium = "openai:gpt-5"')
    monkeypatch.setenv("TROUPE_TIER_PREMIUM", "openai:gpt-6")
    assert Settings.load().tiers() == {"premium": "openai:gpt-6"}


def test_paths_in_a_file_are_meant_from_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toml(tmp_path, 'prompts = "texts"\nroles = "/abs/roles"\ndb = "runs.db"')
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    settings = Settings.load()
    assert (settings.prompts, settings.roles, settings.db) == (
        tmp_path / "texts",
        Path("/abs/roles"),
        tmp_path / "runs.db",
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("timeout = ", r"troupe\.toml is not valid TOML"),
        ('modell = "x"', r"modell: Extra inputs.*Known settings: .*model.*timeout"),
        ('timeout = "soon"', r"timeout: Input should be a valid number"),
        ("timeout = 0", r"timeout: Input should be greater than 0"),
        ("retries = 99", r"retries: Input should be less than or equal to 20"),
        ("max_concurrency = 0", r"max_concurrency"),
        ("brief_tokens = 10", r"brief_tokens: Input should be greater than or equal to 500"),
        ('tiers = "openai:gpt-5"', r"\[tiers\] must be a table"),
        ('[tiers]\ncheap = "openai:gpt-5"', r"unknown tier 'cheap'. There are: economy, standard, premium"),
        ("[tiers]\npremium = 5", r"tier_premium"),
        ("[providers.local]\nkey_env = 'X'", r"providers\.local\.base_url: Field required"),
        ("[providers.local]\nbase_url = 'http://x'\napi_key = 'sk-1'", r"providers\.local\.api_key: Extra inputs"),
        ("providers = 5", r"providers"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_what_would_be_right(text: str, complaint: str, tmp_path: Path) -> None:
    toml(tmp_path, text)
    with pytest.raises(SettingsError, match=f"(?s){complaint}") as caught:
        Settings.load()
    assert "troupe.toml" in str(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "troupe.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not valid TOML"):
        Settings.load()


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    toml(tmp_path, "[tool]\ntroupe = 5  # [tool.troupe]", "pyproject.toml")
    with pytest.raises(SettingsError, match=r"\[tool\.troupe\] must be a table"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "value"),
    [("TROUPE_TIMEOUT", "soon"), ("TROUPE_RETRIES", "-1"), ("TROUPE_MAX_REQUESTS", "many"), ("TROUPE_PROVIDERS", "{")],
)
def test_what_is_wrong_in_the_environment_is_said(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name.removeprefix("TROUPE_").lower()):
        Settings.load()
    with pytest.raises(SettingsError):
        run(sequential(agent("a", "Do.")), "x", db=":memory:")


def test_a_key_that_stands_in_the_file_is_not_repeated_in_the_complaint(tmp_path: Path) -> None:
    toml(tmp_path, "[providers.local]\nbase_url = 'http://x'\napi_key = 'sk-abcdefgh12345678'")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    assert "sk-abcdefgh" not in str(caught.value)


def test_a_change_is_seen_by_the_next_run_and_not_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = Settings.refresh()
    monkeypatch.setenv("TROUPE_TIMEOUT", "20")
    assert Settings.current() is first
    assert Settings.refresh().timeout == 20
    file = toml(tmp_path, "retries = 1")
    assert Settings.refresh().retries == 1
    file.unlink()
    assert Settings.refresh().retries == 3
    assert Settings.refresh() is Settings.current()


def test_an_agent_that_is_tried_alone_sees_the_settings_as_they_are_now(monkeypatch: pytest.MonkeyPatch) -> None:
    poet = agent("poet", "Write verse.")
    assert poet.invoke(Brief(task="x")).content.startswith("[simulated]")
    monkeypatch.setenv("TROUPE_MODEL", "nobody:gpt")
    with pytest.raises(Exception, match="Unknown provider 'nobody'"):
        poet.invoke(Brief(task="x"))
    with pytest.raises(Exception, match="Unknown provider 'nobody'"):
        asyncio.run(poet.ainvoke(Brief(task="x")))


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().timeout = 5
