#!/usr/bin/env bash
# DuckDB 1.5.5 with DuckLake 1.0: a query at a past version should return that version. Within a transaction that
# inserted into the table it also returns the transaction's own, uncommitted rows.
# Seen: version n holds {1}; after an insert of 2 within a transaction the same version reads {1, 2}, after rollback {1}.
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
con.execute("create table lake.t (i integer)")
con.execute("insert into lake.t values (1)")
(version,) = con.execute("select max(snapshot_id) from ducklake_snapshots('lake')").fetchone()
past = f"select i from lake.t at (version => {version}) order by i"
con.begin()
con.execute("insert into lake.t values (2)")
within = con.execute(past).fetchall()
con.rollback()
after = con.execute(past).fetchall()
print("version", version, "within the transaction:", within, "after its rollback:", after)
assert within == [(1,), (2,)], "a past version is the past within a transaction now"
assert after == [(1,)]
PYTHON
