"""kroasync: definitions in, ordered and self-healing Kubernetes resources out."""

__version__ = "0.1.0"
