"""The published rule: how the authors' evaluation code reads and compares answers."""
