#!/usr/bin/env bash
# Dagster 1.13.27: a run materialises a partition of an asset. `delete_run` (and "Delete" in the UI) removes the record of
# the run; the data stay where they are. Seen: the partition counts as never materialised from then on, because its
# materialisation event is deleted with the run. Whoever prunes old runs sees backfilled years as missing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check dagster==1.13.27
cd "$folder" && HOME="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import logging
import tempfile

import dagster as dg

logging.disable(logging.CRITICAL)


@dg.asset(partitions_def=dg.StaticPartitionsDefinition(["2024-01-01", "2024-01-02"]))
def stars() -> None:
    pass


with tempfile.TemporaryDirectory() as home, dg.DagsterInstance.local_temp(home) as instance:
    run = dg.materialize([stars], partition_key="2024-01-01", instance=instance)
    before = instance.get_materialized_partitions(stars.key)
    instance.delete_run(run.run_id)
    after = instance.get_materialized_partitions(stars.key)
print("materialised before:", before, "after the run was deleted:", after)
assert before == {"2024-01-01"}
assert after == set(), "a deleted run leaves its partitions materialised now"
PYTHON
