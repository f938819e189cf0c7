#!/usr/bin/env bash
# dlt 1.31.0 (snake_case names): the columns a-b and aB both become a_b. When Python rows are loaded, the later value
# replaces the earlier one without a warning. An Arrow table with the same two columns is refused with a name collision.
# Seen: {"a-b": 1, "aB": 2} is stored as a_b = 2.
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


load("names", [{"a-b": 1, "aB": 2}])
loaded = rows("names", "select * exclude (_dlt_load_id, _dlt_id) from raw.t")
print("from rows:", loaded)
assert loaded == [(2,)], "both columns arrive now"
try:
    load("arrow_names", pa.table({"a-b": [1], "aB": [2]}))
except Exception as error:
    print("from Arrow:", type(error.__cause__).__name__)
    assert "collision" in str(error).lower()
else:
    raise AssertionError("an Arrow table with such names is loaded now")
PYTHON
