#!/usr/bin/env bash
# dbt-duckdb 1.11.1 on DuckDB 1.5.5: a profile whose `path` has a folder with a number sign (#), a valid name of a folder.
# DuckDB opens the file and names the database after it. dbt-duckdb parses the path as a URL, takes the rest as a
# fragment, and names the database after what is left. Seen: the file exists, and dbt run fails with "Catalog "a" does not
# exist!". A database under `attach` with an alias works in the same folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dbt-duckdb==1.11.1 dbt-core==1.11.16 duckdb==1.5.5
mkdir -p "$folder/a#b" "$folder/project/models"
cd "$folder/project"
export HOME="$folder" DO_NOT_TRACK=1 DBT_SEND_ANONYMOUS_USAGE_STATS=false
printf 'name: tiny\nversion: 1.0.0\nprofile: tiny\n' > dbt_project.yml
echo "select 1 as n" > models/m.sql

profile() {
    printf 'tiny:\n  target: it\n  outputs:\n    it:\n      type: duckdb\n      path: "%s"\n' "$1" > profiles.yml
}

profile "$folder/a#b/main.duckdb"
if "$folder/venv/bin/dbt" run > log.txt 2>&1; then
    echo "dbt runs with a number sign in the path now" && exit 1
fi
grep -o 'Catalog "a" does not exist' log.txt
test -f "$folder/a#b/main.duckdb"

profile "$folder/project/main.duckdb"
printf '      attach:\n        - path: "%s"\n          alias: other\n' "$folder/a#b/other.duckdb" >> profiles.yml
echo "{{ config(materialized='table', database='other') }} select 1 as n" > models/m.sql
"$folder/venv/bin/dbt" run > log.txt 2>&1
echo "attached under an alias: $(grep -o 'PASS=1' log.txt)"
