"""Adapters to the API server: plain dicts in and out, typed errors, no knowledge of definitions."""
