"""Output of the pipeline: the published read-only copy, its Parquet files and site, and queries on them. No Dagster."""
