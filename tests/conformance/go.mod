module conformance

go 1.21

require cel.dev/expr v0.25.3
