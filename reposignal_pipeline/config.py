"""The settings of one process: the only reader of the environment.

Here: names, defaults and validation of what a user can set, and the paths that follow from it.
Not here: opening anything (`warehouse`), talking to anything (`sources`).
"""

from __future__ import annotations

import datetime as dt
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

PROJECT_ROOT = Path(__file__).resolve().parent.parent
DBT_PROJECT_DIR = PROJECT_ROOT / "dbt_project"
SAMPLE_DIR = PROJECT_ROOT / "data" / "sample"

RANKINGS_UPSTREAM = "https://raw.githubusercontent.com/EvanLi/Github-Ranking/master/Data"
RANKINGS_FIRST_DAY = dt.date(2018, 12, 18)
SAMPLE_FIRST_DAY = dt.date(2025, 10, 20)
SAMPLE_LAST_DAY = dt.date(2026, 2, 27)
SAMPLE_CYCLES = 7
"""days of the sample whose totals the demo observes; before them rankings and star histories speak"""
SAMPLE_TOKEN = "sample-token"
SAMPLE_UNIVERSE_SIZE = 50
GH_ARCHIVE_UPSTREAM = "https://data.gharchive.org"
GH_ARCHIVE_FIRST_DAY = dt.date(2011, 2, 12)
GITHUB_API = "https://api.github.com"
UNIVERSE_SIZE = 12_000
SOURCES = ("star_history", "repositories", "rankings", "gh_archive")
FIRST_DAYS = {
    "star_history": GH_ARCHIVE_FIRST_DAY,
    "repositories": RANKINGS_FIRST_DAY,
    "rankings": RANKINGS_FIRST_DAY,
    "gh_archive": GH_ARCHIVE_FIRST_DAY,
}
"""source -> the first day that can be asked for"""

PROFILE_MARK = "profile"
"""file of the home that names the profile that fills it"""


class ConfigError(Exception):
    """A setting that cannot be used; the message is one line and names the setting."""


class Profile(StrEnum):
    """Where the data comes from and where it goes."""

    DEMO = "demo"
    """the embedded sample"""
    LOCAL = "local"
    """live upstreams, DuckDB files"""
    LAKE = "lake"
    """live upstreams, a DuckLake: catalog in PostgreSQL, Parquet in S3 or a folder"""
    LAKE_DEMO = "lake-demo"
    """the embedded sample, into a lake"""

    @property
    def is_sample(self) -> bool:
        return self in (Profile.DEMO, Profile.LAKE_DEMO)

    @property
    def is_lake(self) -> bool:
        return self in (Profile.LAKE, Profile.LAKE_DEMO)


@dataclass(frozen=True)
class LakeSettings:
    """Where a lake is: its catalog and its data."""

    catalog: str
    """URL of the PostgreSQL database, without the password"""
    data: str
    """`s3://...` or an absolute path, without a slash at the end"""
    environment: Mapping[str, str] = field(repr=False)
    """what libpq and DuckDB read of their own accord: the password, keys, the endpoint. No SQL and no log has them."""
    s3: Mapping[str, str] = field(default_factory=dict, repr=False)
    """keys, region and endpoint as dlt wants them; empty for a folder"""


@dataclass(frozen=True)
class Settings:
    """What a user has set, validated, and the paths that follow from it."""

    home: Path
    profile: Profile
    rankings_base: str
    """base address of the daily ranking files; may carry credentials, so show it through `transport.shown`"""
    github_api_base: str | None = GITHUB_API
    """None is the embedded sample's API"""
    gh_archive_base: str | None = None
    """base address of the hourly event files, None if no run reads them; show it through `transport.shown`, too"""
    github_tokens: tuple[str, ...] = field(default=(), repr=False)
    watchlist: Path | None = None
    """file of `owner/name` lines, tracked besides what discovery finds"""
    universe_size: int = UNIVERSE_SIZE
    requests_a_minute: int = 900
    """per token; GitHub's own secondary limit, other servers have others"""
    memory_limit: str = "2GB"
    """of each DuckDB process; above it DuckDB spills to disk"""
    is_begun: bool = False
    """whether a run of this profile has begun to fill the home; then no other profile can"""
    lake: LakeSettings | None = None
    """None: the warehouse is two DuckDB files"""
    lake_workers: int = 4
    """runs that load at the same time into a lake"""

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the sources that are configured: those of a normal day.

        GitHub's API wants a token, a watchlist or an address of its own. A day of the archive is gigabytes of which
        today's capture is a small part, so it wants an address, which a command that names it sets for itself.
        """
        asks_github = self.github_tokens or self.watchlist or self.github_api_base != GITHUB_API
        asked = {
            "star_history": asks_github,
            "repositories": asks_github,
            "rankings": True,
            "gh_archive": self.gh_archive_base is not None,
        }
        return tuple(source for source in SOURCES if asked[source])

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
        """What analysts open, read-only."""
        return self.published_dir / "reposignal.duckdb"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def dbt_dir(self) -> Path:
        """dbt's target and logs."""
        return self.home / "dbt"

    @property
    def actor_key_file(self) -> Path:
        """The key under which actors of the archive are hashed: never published, made on first use."""
        return self.home / "actor.key"

    @property
    def dlt_dir(self) -> Path:
        """dlt's working folders."""
        return self.home / "dlt"


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that the environment gives; an empty variable counts as unset.

    A home belongs to the profile that first filled it, so that sample and live days never mix: it is the default
    there, and another is refused.

    Raises:
        ConfigError: one line that names the variable and what it may be.
    """
    given = {name: value for name, value in environment.items() if value.strip()}
    home = _home(given.get("REPOSIGNAL_HOME", str(PROJECT_ROOT / "data" / "home")))
    filled_by = _filled_by(home)
    name = given.get("REPOSIGNAL_PROFILE", filled_by or Profile.LOCAL)
    try:
        profile = Profile(name)
    except ValueError:
        known = ", ".join(Profile)
        raise ConfigError(f"REPOSIGNAL_PROFILE={name!r} is not a profile; there are: {known}") from None
    if filled_by and filled_by != profile:
        raise ConfigError(
            f"REPOSIGNAL_HOME={home} belongs to profile '{filled_by}', not '{profile}': name another home"
        )
    is_demo = profile.is_sample
    watchlist = given.get("REPOSIGNAL_WATCHLIST", str(SAMPLE_DIR / "watchlist.txt") if is_demo else None)
    return Settings(
        home=home,
        profile=profile,
        is_begun=filled_by is not None,
        rankings_base=given.get(
            "REPOSIGNAL_RANKINGS_URL", str(SAMPLE_DIR / "rankings") if is_demo else RANKINGS_UPSTREAM
        ),
        gh_archive_base=given.get("REPOSIGNAL_GH_ARCHIVE_URL"),
        github_api_base=given.get("REPOSIGNAL_GITHUB_API_URL", None if is_demo else GITHUB_API),
        # the sample's API knows no other token, and a real one has no business there
        github_tokens=(SAMPLE_TOKEN,) if is_demo else _tokens(given.get("GITHUB_TOKEN", "")),
        watchlist=_path("REPOSIGNAL_WATCHLIST", watchlist) if watchlist else None,
        universe_size=_whole(given, "REPOSIGNAL_UNIVERSE_SIZE", SAMPLE_UNIVERSE_SIZE if is_demo else UNIVERSE_SIZE),
        requests_a_minute=_whole(given, "REPOSIGNAL_GITHUB_REQUESTS_A_MINUTE", Settings.requests_a_minute),
        memory_limit=given.get("REPOSIGNAL_MEMORY_LIMIT", Settings.memory_limit),
        lake=_lake(given, profile) if profile.is_lake else None,
        lake_workers=_whole(given, "REPOSIGNAL_LAKE_WORKERS", Settings.lake_workers),
    )


def _path(name: str, text: str) -> Path:
    """Return the absolute path that a setting names."""
    if not text.isprintable():
        raise ConfigError(f"{name}={text!r} holds characters that cannot be shown: name another path")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{name}={text}: the system has no user {Path(text).parts[0]!r}: name a full path") from None


def _home(text: str) -> Path:
    home = _path("REPOSIGNAL_HOME", text)
    # Dagster takes what follows a "?" for parameters of its SQLite URLs, dlt a "%" for a place to fill in file names,
    # and puts paths of files to load into SQL without doubling an apostrophe; dbt-duckdb cuts a path at "#"
    if sign := next((sign for sign in "?%'#" if sign in str(home)), None):
        raise ConfigError(f"REPOSIGNAL_HOME={home}: libraries cannot use a path with {sign} in it: name another home")
    try:
        if not home.exists() or home.is_dir():
            return home
    except OSError as error:
        raise ConfigError(f"REPOSIGNAL_HOME={home} cannot be opened: {error.strerror}") from None
    raise ConfigError(f"REPOSIGNAL_HOME={home} is a file, not a folder: name another home")


def _filled_by(home: Path) -> Profile | None:
    """Return the profile that filled a home; None if none did yet."""
    mark = home / PROFILE_MARK
    way_out = f"delete it and set REPOSIGNAL_PROFILE to the profile that filled the home: {', '.join(Profile)}"
    try:
        text = mark.read_text(encoding="utf-8-sig").strip()
        return Profile(text) if text else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{mark} cannot be read: {error.strerror}") from None
    except ValueError:  # which an error of decoding is, too
        raise ConfigError(f"{mark} does not name a profile: {way_out}") from None


def use_live_archive() -> None:
    """Set the address of GH Archive for this process and its children, as a command that names the source wants.

    Without an address the source is not configured, so that no other run reads a terabyte unasked.
    """
    os.environ["REPOSIGNAL_GH_ARCHIVE_URL"] = GH_ARCHIVE_UPSTREAM


def _lake(given: Mapping[str, str], profile: Profile) -> LakeSettings:
    catalog, data = given.get("REPOSIGNAL_LAKE_CATALOG", ""), given.get("REPOSIGNAL_LAKE_DATA", "").rstrip("/")
    wanted = {
        "REPOSIGNAL_LAKE_CATALOG": "a PostgreSQL URL, postgresql://user@host/database",
        "REPOSIGNAL_LAKE_DATA": "s3://bucket/prefix or a folder",
    }
    if data.startswith("s3://"):
        wanted |= dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), "a key of the bucket")
    if missing := [f"{name} ({what})" for name, what in wanted.items() if name not in given]:
        raise ConfigError(f"profile {profile.value!r} lacks {', '.join(missing)}")
    url, password = _catalog(catalog)
    environment = {"PGPASSWORD": password} if password else {}
    if "://" in data and not data.startswith("s3://"):
        raise ConfigError("REPOSIGNAL_LAKE_DATA is neither s3://bucket/prefix nor a folder")
    if not data.startswith("s3://"):
        return LakeSettings(url, str(_path("REPOSIGNAL_LAKE_DATA", data)), environment)
    endpoint = urlsplit(given.get("AWS_ENDPOINT_URL_S3", given.get("AWS_ENDPOINT_URL", "https://s3.amazonaws.com")))
    if endpoint.scheme not in ("http", "https") or not endpoint.netloc:
        raise ConfigError("AWS_ENDPOINT_URL is no http(s) address")
    region = given.get("AWS_REGION", given.get("AWS_DEFAULT_REGION", "us-east-1"))
    s3 = {
        "aws_access_key_id": given["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": given["AWS_SECRET_ACCESS_KEY"],
        "region_name": region,
        "endpoint_url": f"{endpoint.scheme}://{endpoint.netloc}",
    }
    if token := given.get("AWS_SESSION_TOKEN"):
        s3["aws_session_token"] = token
    environment |= {
        "AWS_REGION": region,
        "DUCKDB_S3_ENDPOINT": endpoint.netloc,
        "DUCKDB_S3_USE_SSL": "true" if endpoint.scheme == "https" else "false",
    }
    return LakeSettings(url, data, environment, s3)


def _catalog(url: str) -> tuple[str, str]:
    """Return a catalog's URL without the password, and the password. An error shows neither."""
    wanted = "REPOSIGNAL_LAKE_CATALOG is no PostgreSQL URL: postgresql://user@host:port/database"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(wanted) from None
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme != "postgresql" or not host or not parts.path.strip("/"):
        raise ConfigError(wanted)
    if "password" in parts.query:
        raise ConfigError("REPOSIGNAL_LAKE_CATALOG: the password belongs before the host, not among the parameters")
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=f"{name}{at}{host}")), unquote(password)


def _tokens(given: str) -> tuple[str, ...]:
    tokens = tuple(token.strip() for token in given.split(",") if token.strip())
    for position, token in enumerate(tokens, start=1):
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ConfigError(f"GITHUB_TOKEN: token {position} of {len(tokens)} holds blanks or is not ASCII")
    return tokens


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default)).strip()
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise ConfigError(f"{name}={text!r} is not a whole number from 1")
    return int(text)
