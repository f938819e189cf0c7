"""What leaves the pipeline: the read-only copy, its Parquet files, and questions to them. No Dagster here."""
