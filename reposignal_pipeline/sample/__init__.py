"""The embedded upstream: small, synthetic files in the upstreams' own formats."""
