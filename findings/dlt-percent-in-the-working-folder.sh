#!/usr/bin/env bash
# dlt 1.31.0 builds the names of its files with the % operator, applied to the whole path. A percent sign in the path of
# the working folder, which every operating system allows, fails each load. The error mentions a wrong file name
# template, not the folder. Seen: InvalidFileNameTemplateException for "100% stars"; the same load into "stars" works.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check 'dlt[duckdb]==1.31.0' duckdb==1.5.5 'sqlglot<=30.21.0'
cd "$folder" && HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import os

os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"

import dlt


def loaded_in(folder):
    pipeline = dlt.pipeline("p", destination=dlt.destinations.duckdb("p.duckdb"), pipelines_dir=folder)
    return pipeline.run([{"a": 1}], table_name="t")


loaded_in("stars")
try:
    loaded_in("100% stars")
except Exception as error:
    chain = []
    while error:
        chain.append(type(error).__name__)
        error = error.__cause__ or error.__context__
    print("raised:", chain)
    assert chain == ["PipelineStepFailed", "InvalidFileNameTemplateException", "TypeError"]
else:
    raise AssertionError("a percent sign in the path is fine now")
PYTHON
