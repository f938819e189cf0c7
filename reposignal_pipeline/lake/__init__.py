"""The warehouse as a DuckLake."""
