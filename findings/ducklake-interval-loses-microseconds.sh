#!/usr/bin/env bash
# DuckDB 1.5.5 with DuckLake 1.0: Parquet's interval type has milliseconds. An INTERVAL with microseconds is exact while
# its row is inlined in the catalog, and is truncated when the row is flushed to a Parquet file.
# Seen: 00:00:01.123456 before the flush, 00:00:01.123 after it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.5 duckdb-extensions==1.5.5 duckdb-extension-ducklake==1.5.5
cd "$folder" && HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import duckdb
import duckdb_extensions

con = duckdb.connect()
duckdb_extensions.import_extension("ducklake", con=con)
con.execute("attach 'ducklake:catalog.ducklake' as lake (data_path 'data')")
con.execute("create table lake.t (waited interval)")
con.execute("insert into lake.t values (interval '1 second 123456 microseconds')")
(inlined,) = con.execute("select waited::varchar from lake.t").fetchone()
con.execute("call ducklake_flush_inlined_data('lake')")
(flushed,) = con.execute("select waited::varchar from lake.t").fetchone()
print("inlined:", inlined, "flushed:", flushed)
assert inlined == "00:00:01.123456"
assert flushed == "00:00:01.123", "the flush keeps microseconds now"
PYTHON
