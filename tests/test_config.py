"""The environment becomes settings, or one line that names the error."""

from pathlib import Path

import pytest

from reposignal_pipeline import config
from reposignal_pipeline.config import (
    PROFILE_MARK,
    RANKINGS_UPSTREAM,
    SAMPLE_DIR,
    ConfigError,
    Profile,
    Settings,
    load_settings,
)


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder without a home: that of the checkout may hold the demo."""
    monkeypatch.setattr(config, "PROJECT_ROOT", tmp_path / "project")
    return tmp_path / "project"


def test_nothing_set_means_live_sources_and_the_home_in_the_project(project: Path) -> None:
    settings = load_settings({})
    assert settings == Settings(project / "data" / "home", Profile.LOCAL, RANKINGS_UPSTREAM)
    assert settings.memory_limit == "2GB"


def test_the_demo_reads_the_embedded_sample() -> None:
    settings = load_settings({"REPOSIGNAL_PROFILE": "demo"})
    assert settings.profile is Profile.DEMO
    assert Path(settings.rankings_base) == SAMPLE_DIR / "rankings"
    assert Path(settings.rankings_base).is_dir()


LAKE = {"REPOSIGNAL_LAKE_CATALOG": "postgresql://reader@localhost/lake", "REPOSIGNAL_LAKE_DATA": "/lake"}


@pytest.mark.parametrize("profile", list(Profile))
def test_a_given_address_wins_over_the_default_of_every_profile(profile: Profile) -> None:
    given = {"REPOSIGNAL_PROFILE": profile.value, "REPOSIGNAL_RANKINGS_URL": "s3://mirror/data", **LAKE}
    assert load_settings(given).rankings_base == "s3://mirror/data"


def test_a_home_keeps_the_profile_that_filled_it(tmp_path: Path) -> None:
    (tmp_path / PROFILE_MARK).write_text("demo\n")
    assert load_settings({"REPOSIGNAL_HOME": str(tmp_path)}).profile is Profile.DEMO
    with pytest.raises(ConfigError, match=r"^REPOSIGNAL_HOME=.* belongs to profile 'demo', not 'local'"):
        load_settings({"REPOSIGNAL_HOME": str(tmp_path), "REPOSIGNAL_PROFILE": "local"})


@pytest.mark.parametrize("name", ["prod", "DEMO", "demo ", "local,demo", "x\ny"])
def test_an_unknown_profile_is_one_line_that_names_the_variable_and_the_choices(name: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load_settings({"REPOSIGNAL_PROFILE": name})
    message = str(raised.value)
    assert "\n" not in message
    assert "REPOSIGNAL_PROFILE" in message
    assert repr(name) in message
    assert all(profile in message for profile in Profile)


@pytest.mark.parametrize("given", ["https://example.org/trends", "https://example.org/trends/"])
def test_the_address_of_the_site_is_a_folder(given: str) -> None:
    assert load_settings({"REPOSIGNAL_SITE_URL": given}).site_url == "https://example.org/trends/"
    assert load_settings({}).site_url is None


@pytest.mark.parametrize(
    "wrong",
    [
        "example.org", "ftp://example.org", "https://", "https://user:secret@example.org", "https://example.org/?a=b",
        "https://example.org/#a", "https://example.org:x/", "https://exa mple.org", 'https://example.org/"><script>',
        "javascript:alert(1)", "https://[::1/",
    ],
)  # fmt: skip
def test_an_address_that_no_page_can_have_is_refused_without_repeating_it(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"^REPOSIGNAL_SITE_URL is not the http") as raised:
        load_settings({"REPOSIGNAL_SITE_URL": wrong})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_variable_counts_as_unset(empty: str) -> None:
    names = ("REPOSIGNAL_HOME", "REPOSIGNAL_PROFILE", "REPOSIGNAL_RANKINGS_URL", "REPOSIGNAL_MEMORY_LIMIT")
    assert load_settings(dict.fromkeys(names, empty)) == load_settings({})


def test_the_home_is_absolute_wherever_the_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/somewhere")
    assert load_settings({"REPOSIGNAL_HOME": "mine"}).home == tmp_path / "mine"
    assert load_settings({"REPOSIGNAL_HOME": "~/mine"}).home == Path("/somewhere/mine")


def test_every_path_lies_below_the_home(tmp_path: Path) -> None:
    settings = load_settings({"REPOSIGNAL_HOME": str(tmp_path)})
    paths = [getattr(settings, name) for name, value in vars(Settings).items() if isinstance(value, property)]
    paths.remove(settings.sources)
    assert len(paths) == len(set(paths)) >= 8
    assert all(path.is_relative_to(tmp_path) and path != tmp_path for path in paths)
    assert settings.published_db == tmp_path / "published" / "reposignal.duckdb"


def test_loading_settings_creates_nothing(home: Path) -> None:
    assert load_settings().home == home
    assert not home.exists()


def test_the_environment_is_read_on_demand_and_not_at_import(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPOSIGNAL_MEMORY_LIMIT", "512MB")
    assert load_settings().memory_limit == "512MB"


def test_foreign_variables_are_ignored() -> None:
    assert load_settings({"PROFILE": "x", "DBT_PROFILE": "x"}) == load_settings({})


def test_tokens_are_not_shown() -> None:
    settings = load_settings({"GITHUB_TOKEN": " ghp_first, ghp_second ,,"})
    assert settings.github_tokens == ("ghp_first", "ghp_second")
    assert "ghp_" not in repr(settings)


def test_an_invalid_token_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="GITHUB_TOKEN: token 2 of 2 contains blanks") as raised:
        load_settings({"GITHUB_TOKEN": "good,bad secret"})
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "given",
    [{"GITHUB_TOKEN": "t"}, {"REPOSIGNAL_WATCHLIST": "w.txt"}, {"REPOSIGNAL_GITHUB_API_URL": "http://127.0.0.1:1"}],
)
def test_github_is_a_source_once_one_of_its_settings_is_set(given: dict[str, str]) -> None:
    assert load_settings({}).sources == ("rankings",)
    assert set(load_settings(given).sources) == {"rankings", "repositories", "star_history"}


@pytest.mark.parametrize("size", ["0", "-1", "many", "1.5"])
def test_a_size_is_a_whole_number(size: str) -> None:
    with pytest.raises(ConfigError, match="REPOSIGNAL_UNIVERSE_SIZE"):
        load_settings({"REPOSIGNAL_UNIVERSE_SIZE": size})
