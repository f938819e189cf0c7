"""Upstreams, read with dlt: one module per upstream and one for the manners of asking. No Dagster here."""
