#!/usr/bin/env bash
# dlt 1.31.0 into DuckDB 1.5.5: a merge with a primary key should leave one row a key. With the strategy upsert, the
# first load of a batch that contains a key twice stores both rows. The default strategy (delete-insert) stores one of
# them: the first, not the last. Seen: two rows for k = 1 with upsert; v = 'first' with the default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dlt[duckdb]==1.31.0' duckdb==1.5.5 pyarrow==26.0.1 'sqlglot<=30.21.0'
cd "$folder" && HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import os

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt
import duckdb
import pyarrow as pa


def load(name, data, **options):
    pipeline = dlt.pipeline(
        name, destination=dlt.destinations.duckdb(f"{name}.duckdb"), dataset_name="raw", pipelines_dir="pipelines"
    )
    pipeline.run(data, table_name="t", **options)


def rows(name, query):
    with duckdb.connect(f"{name}.duckdb") as con:
        return con.execute(query).fetchall()


twice = [{"k": 1, "v": "first"}, {"k": 1, "v": "last"}]
key = {"primary_key": "k"}
load("upsert", twice, write_disposition={"disposition": "merge", "strategy": "upsert"}, **key)
load("merge", twice, write_disposition="merge", **key)
upserted, merged = (rows(name, "select k, v from raw.t order by v") for name in ("upsert", "merge"))
print("upsert:", upserted, "merge:", merged)
assert upserted == [(1, "first"), (1, "last")], "the first upsert removes duplicates now"
assert merged == [(1, "first")]
PYTHON
