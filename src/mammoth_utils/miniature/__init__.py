"""The embedded default: a small world of problems, sources and benchmarks of the paper's shape."""
