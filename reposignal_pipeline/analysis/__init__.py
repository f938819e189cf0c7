"""Frames in, frames out: no files, no connections, no Dagster."""
