"""Curation in pieces, for a release that is larger than the memory of one machine."""
