"""Evaluation: nine benchmarks, completions, attempts, accuracy. Loading it loads no torch."""

from mammoth_utils.evaluation.benchmarks import BENCHMARKS, Benchmark, load

__all__ = ["BENCHMARKS", "Benchmark", "load"]

VERSION = 1  # of what a model is asked, in which order, and which attempt counts
