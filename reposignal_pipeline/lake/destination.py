"""The dlt destination for the lake.

This is dlt's `ducklake` destination with connections to one shared in-memory database. dlt opens about ten connections
per load, and for each it loads extensions and attaches the lake, which takes 0.35 s. While
`attached(..., database=LOADS)` keeps the shared database open, the connections find the lake already attached.
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
    """Return the dlt destination that loads into the `pipeline` lake."""
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
        """Close the connection but leave the lake attached, because other connections of the database use it."""
        DuckDbSqlClient.close_connection(self)

    def create_secret(
        self, scope: str, credentials: Any, secret_name: str | None = None, persist_secrets: bool = False
    ) -> Any:
        """Create no secret: httpfs reads the keys from the environment, and concurrent connections would collide."""
        return True


class _Client(DuckLakeClient):
    def __init__(self, schema: Schema, config: DuckLakeClientConfiguration, capabilities: Any) -> None:
        super().__init__(schema, config, capabilities)
        # dlt creates both objects itself, with its own classes
        config.credentials.__class__ = _Credentials
        self.sql_client.__class__ = _SqlClient
        # otherwise replacing a day takes two commits, the first of which leaves the day without rows
        self.capabilities.supports_transactions = self.capabilities.supports_ddl_transactions = True


class _Destination(ducklake):
    @property
    def client_class(self) -> type[DuckLakeClient]:
        return _Client
