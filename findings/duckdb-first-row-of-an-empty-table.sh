#!/usr/bin/env bash
# DuckDB 1.5.5: `qualify row_number() over (order by x) = 1` should return no row for a table without rows. If the query
# reads no other column than x, it returns one row of NULL, because the optimizer rewrites the window as min(x) over the
# whole table. A second column, a partition, `limit 1`, or `<= 2` avoids the rewrite. Seen: [(None,)] against [].
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.5
cd "$folder" && HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import duckdb

con = duckdb.connect()
con.execute("create table t (x integer, y integer)")


def rows(query):
    return con.execute(query).fetchall()


first = rows("select x from t qualify row_number() over (order by x) = 1")
counted = rows("select count(*) from (select x from t qualify row_number() over (order by x) = 1)")
others = [
    rows(query)
    for query in (
        "select x, y from t qualify row_number() over (order by x) = 1",
        "select x from t qualify row_number() over (order by x) <= 2",
        "select x from t qualify row_number() over (partition by y order by x) = 1",
        "select x from t order by x limit 1",
    )
]
print("first row of no rows:", first, "counted:", counted, "other forms:", others)
assert first == [(None,)], "an empty table has no first row now"
assert counted == [(1,)]
assert others == [[], [], [], []]
PYTHON
