"""The settings of one process: the only reader of the environment.

Here: names, defaults and validation of what a user can set, and the paths that follow from it.
Not here: opening anything (`warehouse`), talking to anything (`sources`).
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DBT_PROJECT_DIR = PROJECT_ROOT / "dbt_project"
SAMPLE_DIR = PROJECT_ROOT / "data" / "sample"

RANKINGS_UPSTREAM = "https://raw.githubusercontent.com/EvanLi/Github-Ranking/master/Data"
RANKINGS_FIRST_DAY = dt.date(2018, 12, 18)
SAMPLE_FIRST_DAY = dt.date(2025, 10, 20)
SAMPLE_LAST_DAY = dt.date(2026, 2, 27)


class ConfigError(Exception):
    """A setting that cannot be used; the message is one line and names the setting."""


class Profile(StrEnum):
    """Where the data comes from and where it goes."""

    DEMO = "demo"
    """the embedded sample"""
    LOCAL = "local"
    """live upstreams, DuckDB files"""


class Settings(BaseSettings):
    """What the environment says, validated.

    Raises:
        ValidationError: on an unknown profile or an unreadable value (see `load_settings`).
    """

    model_config = SettingsConfigDict(env_prefix="REPOSIGNAL_", frozen=True, extra="ignore")

    home: Path = PROJECT_ROOT / "data" / "home"
    profile: Profile = Profile.LOCAL
    rankings_url: str = Field(default="", description="base of the daily ranking files")
    memory_limit: str = Field(default="3GB", pattern=r"^\d+(\.\d+)?\s?(MB|GB|MiB|GiB)$")
    schedules: Literal["auto", "off"] = "auto"

    @cached_property
    def rankings_base(self) -> str:
        """Base of the rankings upstream; the sample in profile `demo` unless a user names another."""
        if self.rankings_url:
            return self.rankings_url
        return str(SAMPLE_DIR / "rankings") if self.profile is Profile.DEMO else RANKINGS_UPSTREAM

    @property
    def schedules_on(self) -> bool:
        """Schedules start on their own only against live upstreams."""
        return self.profile is Profile.LOCAL and self.schedules == "auto"

    @property
    def warehouse_dir(self) -> Path:
        return self.home / "warehouse"

    @property
    def pipeline_db(self) -> Path:
        """Raw, staging and intermediate relations: the pipeline's own file."""
        return self.warehouse_dir / "pipeline.duckdb"

    @property
    def marts_db(self) -> Path:
        """The marts, exactly what the next published copy holds. Analysts never open this one."""
        return self.warehouse_dir / "reposignal.duckdb"

    @property
    def published_dir(self) -> Path:
        return self.home / "published"

    @property
    def published_db(self) -> Path:
        return self.published_dir / "reposignal.duckdb"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def dbt_target_dir(self) -> Path:
        return self.home / "dbt" / "target"

    @property
    def dlt_dir(self) -> Path:
        return self.home / "dlt"


def load_settings() -> Settings:
    """Return the settings of this process, with `home` absolute.

    Raises:
        ConfigError: one line that names the variable and what it may be.
    """
    try:
        settings = Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "REPOSIGNAL_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(f"{variable}={first['input']!r}: {first['msg']}") from None
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})
