"""Training: a scale, a mixture and a method to weights and a curve. Importing it loads no torch."""

from __future__ import annotations

from mammoth_utils.training.adapters import load_tokenizer
from mammoth_utils.training.checkpoints import last_complete
from mammoth_utils.training.describe import RunDescription, describe
from mammoth_utils.training.encoding import marked
from mammoth_utils.training.fetching import BaseModelError, fetch, found
from mammoth_utils.training.finetune import finetune
from mammoth_utils.training.folder import finished
from mammoth_utils.training.launch import cluster_lines, prepare, spread, train
from mammoth_utils.training.live import LiveCurve, StatusLine
from mammoth_utils.training.merging import merge
from mammoth_utils.training.planner import advice, cost_table, gpus, plan, trainable_share
from mammoth_utils.training.ready import NotReadyError, ready
from mammoth_utils.training.recipe import evaluation, outlook, recipe_table, steps
from mammoth_utils.training.remains import tokenizer_here

__all__ = [
    "BaseModelError",
    "LiveCurve",
    "NotReadyError",
    "RunDescription",
    "StatusLine",
    "advice",
    "cluster_lines",
    "cost_table",
    "describe",
    "evaluation",
    "fetch",
    "finetune",
    "finished",
    "found",
    "gpus",
    "last_complete",
    "load_tokenizer",
    "marked",
    "merge",
    "outlook",
    "plan",
    "prepare",
    "ready",
    "recipe_table",
    "spread",
    "steps",
    "tokenizer_here",
    "train",
    "trainable_share",
]
