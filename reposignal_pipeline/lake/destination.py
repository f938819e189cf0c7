"""dlt's way into the lake.

Here: dlt's own `ducklake` destination, its connections drawn from one database in memory. Not here: what is loaded.

dlt opens some ten connections a load, and loads and attaches all that a lake needs for each: 0.35 s every time. While
`attached(..., database=LOADS)` holds that database open, they find it ready.
"""

from __future__ import annotations

from typing import Any

from dlt.common.configuration.specs import AwsCredentials
from dlt.common.schema import Schema
from dlt.common.storages.configuration import FilesystemConfiguration
from dlt.destinations import ducklake
from dlt.destinations.impl.duckdb.sql_client import DuckDbSqlClient
from dlt.destinations.impl.ducklake.configuration import DuckLakeClientConfiguration, DuckLakeCredentials
from dlt.destinations.impl.ducklake.ducklake import DuckLakeClient
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient

from reposignal_pipeline.config import LakeSettings
from reposignal_pipeline.lake.catalog import LOADS, PIPELINE, SESSION


def lake_destination(place: LakeSettings) -> ducklake:
    """Return where dlt loads to: the pipeline's lake."""
    storage = FilesystemConfiguration(bucket_url=f"{place.data}/{PIPELINE}")
    if place.s3:
        keys: dict[str, Any] = dict(place.s3)
        storage.credentials = AwsCredentials(**keys)
    credentials = DuckLakeCredentials(PIPELINE, metadata_schema=PIPELINE, catalog=place.catalog, storage=storage)
    credentials.global_config = dict(SESSION)
    return _Destination(credentials=credentials)


class _Credentials(DuckLakeCredentials):
    def _conn_str(self) -> str:
        return LOADS


class _SqlClient(DuckLakeSqlClient):
    def close_connection(self) -> None:
        """Leave the lake attached: other connections of the same database use it."""
        DuckDbSqlClient.close_connection(self)

    def create_secret(
        self, scope: str, credentials: Any, secret_name: str | None = None, persist_secrets: bool = False
    ) -> Any:
        """Make none: httpfs has the keys from the environment, and connections of one database collide making it."""
        return True


class _Client(DuckLakeClient):
    def __init__(self, schema: Schema, config: DuckLakeClientConfiguration, capabilities: Any) -> None:
        super().__init__(schema, config, capabilities)
        # dlt makes both itself, of its own classes
        config.credentials.__class__ = _Credentials
        self.sql_client.__class__ = _SqlClient
        # else what replaces a day is two commits: without its rows, and with them
        self.capabilities.supports_transactions = self.capabilities.supports_ddl_transactions = True


class _Destination(ducklake):
    @property
    def client_class(self) -> type[DuckLakeClient]:
        return _Client
