"""The library under the MAmmoTH book: one folder a stage, see ``book/library.md``."""

__version__ = "0.1.0"
