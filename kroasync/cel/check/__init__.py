"""Analyses of a syntax tree before it runs: its types, its errors, what it refers to and what it reads."""
