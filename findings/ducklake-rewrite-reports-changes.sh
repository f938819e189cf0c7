#!/usr/bin/env bash
# DuckDB 1.5.5 with DuckLake 1.0: ducklake_rewrite_data_files writes the rows that remain after deletes to a new file.
# The data do not change, yet ducklake_table_changes lists each of these rows as updated.
# Seen: 100 rows remain of 1,000; after the rewrite, 100 update_preimage and 100 update_postimage rows.
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
con.execute("call lake.set_option('data_inlining_row_limit', 0)")
con.execute("create table lake.t as select i from range(1000) r(i)")
con.execute("delete from lake.t where i < 900")
latest = "select max(snapshot_id) from ducklake_snapshots('lake')"
(before,) = con.execute(latest).fetchone()
rows = con.execute("from lake.t order by i").fetchall()
con.execute("call ducklake_rewrite_data_files('lake', 't', delete_threshold => 0)")
(after,) = con.execute(latest).fetchone()
changes = con.execute(
    f"select change_type, count(*) from ducklake_table_changes('lake', 'main', 't', {before + 1}, {after}) group by all"
    " order by 1"
).fetchall()
print("rows are the same:", con.execute("from lake.t order by i").fetchall() == rows, "changes:", changes)
assert con.execute("from lake.t order by i").fetchall() == rows
assert changes == [("update_postimage", 100), ("update_preimage", 100)], "a rewrite reports something else now"
PYTHON
