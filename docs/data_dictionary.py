"""Writes docs/data-dictionary.md from the comments of the published warehouse: `make docs` runs it.

Here: how a catalog becomes a page. Not here: the comments themselves, which are next to the models
(`dbt_project/models/marts`), the weekly tables (`analysis.weekly`) and the record of runs (`publishing.runs`).
"""

import sys
from pathlib import Path

import duckdb

from reposignal_pipeline.config import ConfigError, load_settings
from reposignal_pipeline.publishing.answers import AnswerError, opened

PAGE = Path(__file__).parent / "data-dictionary.md"
HEAD = """# Data dictionary

The comments of every table and column of `published/reposignal.duckdb`. The same from SQL:

```sql
select table_name, column_name, data_type, comment
from duckdb_columns()
where not internal
order by table_name, column_index
```

Written by `make docs`: change the comments, not this page.
[Decision 0006](decisions/0006-missing-refused-not-loaded.md) describes missing values.
"""


def dictionary(connection: duckdb.DuckDBPyConnection) -> str:
    """Return the page that describes the tables of a connection's default database."""
    tables = connection.execute(
        """
        select table_name, comment from duckdb_tables()
        where database_name = current_database() and not internal order by table_name
        """
    ).fetchall()
    columns = connection.execute(
        """
        select table_name, column_name, data_type, comment from duckdb_columns()
        where database_name = current_database() and not internal order by table_name, column_index
        """
    ).fetchall()
    parts = [HEAD, "\n".join(f"- [{name}](#{name})" for name, _ in tables) + "\n"]
    for table, comment in tables:
        rows = [f"| `{name}` | {kind} | {_cell(text)} |" for of, name, kind, text in columns if of == table]
        head = [f"## {table}", "", _cell(comment), "", "| column | type | meaning |", "|---|---|---|"]
        parts.append("\n".join([*head, *rows, ""]))
    return "\n".join(parts)


def _cell(text: str | None) -> str:
    return (text or "").strip().replace("|", "\\|").replace("<", "&lt;")


def main() -> int:
    """Write the page from the published copy and return the exit status."""
    try:
        with opened(load_settings()) as connection:
            page = dictionary(connection)
    except (AnswerError, ConfigError) as error:
        print(f"data dictionary: {error}", file=sys.stderr)
        return 1
    PAGE.write_text(page, encoding="utf-8")
    print(PAGE)
    return 0


if __name__ == "__main__":
    sys.exit(main())
