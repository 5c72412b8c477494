"""Parses text to a syntax tree."""
