#!/usr/bin/env bash
# DuckDB 1.5.5 with DuckLake 1.0: sum() of a BIGINT column is a HUGEINT. Parquet has no 128-bit integer, so a HUGEINT
# column is written as DOUBLE. A small table is inlined in the catalog and exact; when its rows are flushed to Parquet,
# values above 2^53 are rounded. The column type is still HUGEINT, and there is no warning.
# Seen: 9007199254740993 before the flush, 9007199254740992 after it. A cast to BIGINT or DECIMAL keeps the value.
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
con.execute("create table lake.t as select sum(stars) as stars from (values (9007199254740993::bigint)) v(stars)")
inlined = con.execute("select stars, typeof(stars) from lake.t").fetchone()
con.execute("call ducklake_flush_inlined_data('lake')")
flushed = con.execute("select stars, typeof(stars) from lake.t").fetchone()
(physical,) = con.execute("select type from parquet_schema('data/**/*.parquet') where name = 'stars'").fetchone()
print("inlined:", inlined, "flushed:", flushed, "in Parquet:", physical)
assert inlined == (9007199254740993, "HUGEINT")
assert flushed == (9007199254740992, "HUGEINT"), "the flush keeps the value now"
assert physical == "DOUBLE"
PYTHON
