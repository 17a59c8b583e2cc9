"""The library under the MAmmoTH book: one folder a stage, see ``book/architecture.md``."""

__version__ = "0.1.0"
