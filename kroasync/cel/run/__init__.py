"""From a syntax tree to values: the compiler, the operations of the language, and what a value is in JSON."""
