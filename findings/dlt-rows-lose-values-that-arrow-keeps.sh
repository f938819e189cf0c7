#!/usr/bin/env bash
# dlt 1.31.0 into DuckDB 1.5.5 stores the same values differently for Python rows and Arrow tables. From Python rows a
# decimal is rounded to nine places, and NaN and infinity become NULL. From an Arrow table all values are kept. There is
# no warning. Seen: 0.12345678912345 is stored as 0.123456789 from rows, and unchanged from Arrow.
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


from decimal import Decimal

value, floats = Decimal("0.12345678912345"), [float("nan"), float("inf"), 1.0]
load("rows", [{"n": n, "d": value, "f": number} for n, number in enumerate(floats)])
load("arrow", pa.table({"n": [0, 1, 2], "d": pa.array([value] * 3), "f": floats}))
query = "select ltrim(d::varchar, '0'), typeof(d), f::varchar from raw.t order by n"
from_rows, from_arrow = rows("rows", query), rows("arrow", query)
print("from rows: ", from_rows)
print("from Arrow:", from_arrow)
assert from_rows == [(".123456789", "DECIMAL(38,9)", text) for text in (None, None, "1.0")]
assert from_arrow == [(".12345678912345", "DECIMAL(14,14)", text) for text in ("nan", "inf", "1.0")]
PYTHON
