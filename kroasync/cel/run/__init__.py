"""Evaluates a syntax tree: the compiler, the operations of the language, and the JSON form of a value."""
