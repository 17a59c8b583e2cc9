"""Audit."""

VERSION = 1  # of the checks of reference answers, and how other graders are asked
