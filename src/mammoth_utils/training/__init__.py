"""Training: a scale, a mixture and a method to weights and a curve. Importing it loads no torch."""

from __future__ import annotations

from mammoth_utils.training.adapters import load_tokenizer
from mammoth_utils.training.checkpoints import last_complete
from mammoth_utils.training.describe import RunDescription, describe
from mammoth_utils.training.encoding import marked
from mammoth_utils.training.finetune import finetune
from mammoth_utils.training.guards import NotReadyError, ready
from mammoth_utils.training.launch import cluster_lines, train
from mammoth_utils.training.live import LiveCurve
from mammoth_utils.training.merging import merge
from mammoth_utils.training.planner import cost_table, gpus, plan, trainable_share

__all__ = [
    "LiveCurve",
    "NotReadyError",
    "RunDescription",
    "cluster_lines",
    "cost_table",
    "describe",
    "finetune",
    "gpus",
    "last_complete",
    "load_tokenizer",
    "marked",
    "merge",
    "plan",
    "ready",
    "train",
    "trainable_share",
]
