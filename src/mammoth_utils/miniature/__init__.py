"""The embedded default: a small world of problems, sources and benchmarks of the paper's shape."""

VERSION = 1  # of the problems, rationales and answers of the world and of its teacher
