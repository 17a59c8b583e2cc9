"""The corrected rule: how a careful reader finds an answer, and which answers are equal."""
