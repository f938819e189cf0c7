"""The embedded upstream: small synthetic files in the formats of the real upstreams."""
