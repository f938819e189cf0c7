"""Dagster only: what runs when, on what, and what an operator sees of it."""
