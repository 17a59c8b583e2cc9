"""Mathematical notation: parsed into trees, evaluated, and compared by value; no `eval`."""
