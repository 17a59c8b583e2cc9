"""Data sets on disk and on the hub: where each source lives, its format, and how it is loaded."""
