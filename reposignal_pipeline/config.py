"""The settings of a process, read and validated from the environment; no other module reads the environment.

This module defines names, defaults and validation of all settings, and the paths derived from them. It opens no files
or connections.
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
"""number of last sample days whose totals the demo observes; earlier days come from rankings and star histories"""
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
"""source -> the first day that can be loaded"""

PROFILE_MARK = "profile"
"""file of the home that contains the name of its profile"""


class ConfigError(Exception):
    """A setting is invalid. The message is one line and names the setting."""


class Profile(StrEnum):
    """The source and the destination of the data."""

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
    """The location of a lake: its catalog and its data."""

    catalog: str
    """URL of the PostgreSQL database, without the password"""
    data: str
    """`s3://...` or an absolute path, without a slash at the end"""
    environment: Mapping[str, str] = field(repr=False)
    """variables that libpq and DuckDB read from the environment: password, keys, endpoint; never in SQL or logs"""
    s3: Mapping[str, str] = field(default_factory=dict, repr=False)
    """keys, region and endpoint in dlt's format; empty for a folder"""


@dataclass(frozen=True)
class Settings:
    """The validated settings of a user, and the paths derived from them."""

    home: Path
    profile: Profile
    rankings_base: str
    """base URL of the daily ranking files; may contain credentials, so print it only with `transport.shown`"""
    github_api_base: str | None = GITHUB_API
    """None for the embedded sample's API"""
    gh_archive_base: str | None = None
    """base URL of the hourly event files, None if no run reads them; print it only with `transport.shown`"""
    github_tokens: tuple[str, ...] = field(default=(), repr=False)
    watchlist: Path | None = None
    """file of `owner/name` lines: repositories that are tracked in addition to those that discovery finds"""
    universe_size: int = UNIVERSE_SIZE
    requests_a_minute: int = 900
    """per token; the default is GitHub's secondary limit, other servers may have another one"""
    site_url: str | None = None
    """address at which readers find the site's folder, with a slash at the end; None if the site is not on the web"""
    memory_limit: str = "2GB"
    """limit of each DuckDB process; above it, DuckDB spills to disk"""
    is_begun: bool = False
    """whether a run of this profile has begun to fill the home; then no other profile can use it"""
    lake: LakeSettings | None = None
    """None if the warehouse is two DuckDB files"""
    lake_workers: int = 4
    """number of runs that load concurrently into a lake"""

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the configured sources, which a normal day reads.

        GitHub's API requires a token, a watchlist or another base URL. The archive requires a base URL, because a day
        of it is gigabytes, of which GitHub's events are now only a small part; commands that name the source set it.
        """
        uses_github = self.github_tokens or self.watchlist or self.github_api_base != GITHUB_API
        is_used = {
            "star_history": uses_github,
            "repositories": uses_github,
            "rankings": True,
            "gh_archive": self.gh_archive_base is not None,
        }
        return tuple(source for source in SOURCES if is_used[source])

    @property
    def warehouse_dir(self) -> Path:
        return self.home / "warehouse"

    @property
    def pipeline_db(self) -> Path:
        """Return the path of the file with raw, staging and intermediate relations."""
        return self.warehouse_dir / "pipeline.duckdb"

    @property
    def marts_db(self) -> Path:
        """Return the path of the file with the marts, from which releases are made. Analysts never open it."""
        return self.warehouse_dir / "reposignal.duckdb"

    @property
    def published_dir(self) -> Path:
        return self.home / "published"

    @property
    def published_db(self) -> Path:
        """Return the path of the published file, which analysts open read-only."""
        return self.published_dir / "reposignal.duckdb"

    @property
    def dagster_home(self) -> Path:
        return self.home / "dagster"

    @property
    def command_log(self) -> Path:
        return self.dagster_home / "cli.log"

    @property
    def dbt_dir(self) -> Path:
        """Return the folder of dbt's target and logs."""
        return self.home / "dbt"

    @property
    def actor_key_file(self) -> Path:
        """Return the path of the key that hashes actors of the archive: created on first use, never published."""
        return self.home / "actor.key"

    @property
    def dlt_dir(self) -> Path:
        """Return the folder of dlt's working files."""
        return self.home / "dlt"


def load_settings(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings from the environment; an empty variable counts as unset.

    A home belongs to the profile that first filled it, so that sample and live days never mix. This profile is the
    default of the home, and any other profile raises an error.

    Raises:
        ConfigError: a variable is invalid; the message names it and the valid values.
    """
    given = {name: value for name, value in environment.items() if value.strip()}
    home = _home(given.get("REPOSIGNAL_HOME", str(PROJECT_ROOT / "data" / "home")))
    filled_by = _filled_by(home)
    name = given.get("REPOSIGNAL_PROFILE", filled_by or Profile.LOCAL)
    try:
        profile = Profile(name)
    except ValueError:
        known = ", ".join(Profile)
        raise ConfigError(f"REPOSIGNAL_PROFILE={name!r} is not a profile; use one of: {known}") from None
    if filled_by and filled_by != profile:
        raise ConfigError(f"REPOSIGNAL_HOME={home} belongs to profile '{filled_by}', not '{profile}': use another home")
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
        # the sample's API accepts only this token, and a real token must not be sent to it
        github_tokens=(SAMPLE_TOKEN,) if is_demo else _tokens(given.get("GITHUB_TOKEN", "")),
        watchlist=_path("REPOSIGNAL_WATCHLIST", watchlist) if watchlist else None,
        universe_size=_whole(given, "REPOSIGNAL_UNIVERSE_SIZE", SAMPLE_UNIVERSE_SIZE if is_demo else UNIVERSE_SIZE),
        requests_a_minute=_whole(given, "REPOSIGNAL_GITHUB_REQUESTS_A_MINUTE", Settings.requests_a_minute),
        site_url=_site_url(given["REPOSIGNAL_SITE_URL"]) if "REPOSIGNAL_SITE_URL" in given else None,
        memory_limit=given.get("REPOSIGNAL_MEMORY_LIMIT", Settings.memory_limit),
        lake=_lake(given, profile) if profile.is_lake else None,
        lake_workers=_whole(given, "REPOSIGNAL_LAKE_WORKERS", Settings.lake_workers),
    )


def _path(name: str, text: str) -> Path:
    """Return the absolute path of a setting."""
    if not text.isprintable():
        raise ConfigError(f"{name}={text!r} contains unprintable characters: use another path")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise ConfigError(f"{name}={text}: there is no user {Path(text).parts[0]!r}: use an absolute path") from None


def _site_url(text: str) -> str:
    """Return the address of the site with a slash at the end.

    It becomes part of published pages, so it must not hold a password, and pages are appended to its path.
    """
    try:
        url = urlsplit(text)
        is_address = url.scheme in ("http", "https") and bool(url.hostname) and "@" not in url.netloc and url.port != 0
    except ValueError:  # a port that is not a number, or half an IPv6 address
        is_address = False
    if not is_address or not text.isprintable() or set(text) & set(" ?#\"'<>\\"):
        raise ConfigError(
            "REPOSIGNAL_SITE_URL is not the http(s) address of a folder, without a user, a query or a fragment"
        )
    return text.rstrip("/") + "/"


def _home(text: str) -> Path:
    home = _path("REPOSIGNAL_HOME", text)
    # "?" begins the parameters of Dagster's SQLite URLs; dlt treats "%" as a placeholder in file names and does not
    # escape apostrophes in the SQL that loads files; dbt-duckdb cuts a path at "#"
    if sign := next((sign for sign in "?%'#" if sign in str(home)), None):
        raise ConfigError(f"REPOSIGNAL_HOME={home}: the path must not contain {sign}: use another home")
    try:
        if not home.exists() or home.is_dir():
            return home
    except OSError as error:
        raise ConfigError(f"REPOSIGNAL_HOME={home} cannot be opened: {error.strerror}") from None
    raise ConfigError(f"REPOSIGNAL_HOME={home} is a file, not a folder: use another home")


def _filled_by(home: Path) -> Profile | None:
    """Return the profile that filled a home; None for a new home."""
    mark = home / PROFILE_MARK
    way_out = f"delete it and set REPOSIGNAL_PROFILE to the profile that filled the home: {', '.join(Profile)}"
    try:
        text = mark.read_text(encoding="utf-8-sig").strip()
        return Profile(text) if text else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{mark} cannot be read: {error.strerror}") from None
    except ValueError:  # also a UnicodeDecodeError
        raise ConfigError(f"{mark} does not name a profile: {way_out}") from None


def use_live_archive() -> None:
    """Set the base URL of GH Archive for this process and its children.

    Only commands that name the source call this. Otherwise the source is not configured, so that no run reads a
    terabyte by accident.
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
        raise ConfigError(f"profile {profile.value!r} requires {', '.join(missing)}")
    url, password = _catalog(catalog)
    environment = {"PGPASSWORD": password} if password else {}
    if "://" in data and not data.startswith("s3://"):
        raise ConfigError("REPOSIGNAL_LAKE_DATA is neither s3://bucket/prefix nor a folder")
    if not data.startswith("s3://"):
        return LakeSettings(url, str(_path("REPOSIGNAL_LAKE_DATA", data)), environment)
    endpoint = urlsplit(given.get("AWS_ENDPOINT_URL_S3", given.get("AWS_ENDPOINT_URL", "https://s3.amazonaws.com")))
    if endpoint.scheme not in ("http", "https") or not endpoint.netloc:
        raise ConfigError("AWS_ENDPOINT_URL is not an http(s) URL")
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
    """Return (a catalog's URL without the password, the password); errors contain neither."""
    wanted = "REPOSIGNAL_LAKE_CATALOG is not a PostgreSQL URL such as postgresql://user@host:port/database"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise ConfigError(wanted) from None
    user, at, host = parts.netloc.rpartition("@")
    if parts.scheme != "postgresql" or not host or not parts.path.strip("/"):
        raise ConfigError(wanted)
    if "password" in parts.query:
        raise ConfigError("REPOSIGNAL_LAKE_CATALOG: put the password before the host, not into the parameters")
    name, _, password = user.partition(":")
    return urlunsplit(parts._replace(netloc=f"{name}{at}{host}")), unquote(password)


def _tokens(given: str) -> tuple[str, ...]:
    tokens = tuple(token.strip() for token in given.split(",") if token.strip())
    for position, token in enumerate(tokens, start=1):
        if not re.fullmatch(r"[\x21-\x7e]+", token):
            raise ConfigError(f"GITHUB_TOKEN: token {position} of {len(tokens)} contains blanks or is not ASCII")
    return tokens


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default)).strip()
    if not re.fullmatch(r"[0-9]{1,9}", text) or not int(text):
        raise ConfigError(f"{name}={text!r} is not a whole number of at least 1")
    return int(text)
