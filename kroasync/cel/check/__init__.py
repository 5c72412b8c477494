"""What can be said of a syntax tree before it runs: its types, its faults, what it refers to and what it reads."""
