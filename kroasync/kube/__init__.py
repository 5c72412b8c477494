"""Talks to the API server in plain dicts and typed errors, without knowledge of definitions."""
