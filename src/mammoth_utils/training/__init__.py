"""Training: a scale, a mixture and a method to weights and a curve. Importing it loads no torch."""

from __future__ import annotations

from mammoth_utils.base_models.download import BaseModelError, fetch, found
from mammoth_utils.training.cluster.launch import cluster_lines, prepare, spread, train
from mammoth_utils.training.cluster.page_progress import LiveCurve, StatusLine
from mammoth_utils.training.description import RunDescription, describe
from mammoth_utils.training.export.merge_adapter import merge
from mammoth_utils.training.loop.checkpoints import last_complete
from mammoth_utils.training.loop.encoding import marked
from mammoth_utils.training.loop.finetune import finetune
from mammoth_utils.training.loop.finished_tokenizer import tokenizer_here
from mammoth_utils.training.loop.model import load_tokenizer
from mammoth_utils.training.loop.run_folder import finished
from mammoth_utils.training.plan.advice import advice, cost_table, gpus, plan, trainable_share
from mammoth_utils.training.readiness import NotReadyError, ready
from mammoth_utils.training.run_summary import evaluation, outlook, recipe_table, steps

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

VERSION = 1  # of the rows that a step reads, the update and what is saved
