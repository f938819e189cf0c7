"""What `ops_run` reports about the runs that loaded something."""

from __future__ import annotations

from pathlib import Path

from reposignal_pipeline.config import Profile, Settings
from reposignal_pipeline.publishing.runs import LOADED_ROWS, RunFact, record_runs
from reposignal_pipeline.warehouse import LOAD_RECORDS, Warehouse


def test_a_run_has_its_rows_of_every_source(tmp_path: Path) -> None:
    warehouse = Warehouse(Settings(home=tmp_path, profile=Profile.LOCAL, rankings_base=""))
    warehouse.settings.warehouse_dir.mkdir()
    runs = [RunFact(name, "ingest", None, None, None, "success") for name in ("archive", "mixed", "none")]
    with warehouse.connected() as connection:
        raw = {
            "rankings.rankings_days": "(run_id, status, distinct_places) values ('mixed', 'observed', 40),"
            " ('mixed', 'refused', 7), ('none', 'missing', null)",
            "repositories.repositories_days": "(run_id, answered) values ('mixed', 5)",
            "star_history.star_history_days": "(run_id, answered) values ('mixed', 6)",
            "gh_archive.gh_archive_hours": "(run_id, status, stars) values ('archive', 'observed', 3),"
            " ('archive', 'partial', 4), ('archive', 'missing', 0), ('none', 'missing', 0)",
        }
        for table, rows in raw.items():
            connection.execute(f"insert into pipeline.{table} {rows}")
        record_runs(connection, runs)
        loaded = dict(connection.execute("select run_id, rows_per_source from ops_run").fetchall())
    assert loaded == {
        "archive": {"gh_archive": 7},
        "mixed": {"rankings": 40, "repositories": 5, "star_history": 6},
        "none": {},
    }
    assert LOADED_ROWS.keys() == LOAD_RECORDS.keys()
