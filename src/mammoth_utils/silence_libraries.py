"""The training libraries without progress bars and log lines, so that a page shows its own output only."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from types import ModuleType


@contextlib.contextmanager
def silent_import() -> Iterator[None]:
    """Import within this context without the advice to install widgets for progress bars."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


def import_transformers() -> ModuleType:
    """Import transformers, switch its progress bars off and return it: in a notebook each bar stays as a line."""
    with silent_import():
        import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers


@contextlib.contextmanager
def without_hub_bars() -> Iterator[None]:
    """Switch the progress bars of ``huggingface_hub`` off within this context."""
    with silent_import():
        from huggingface_hub import utils

    shown = not utils.are_progress_bars_disabled()
    if shown:
        utils.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            utils.enable_progress_bars()


@contextlib.contextmanager
def silent_training() -> Iterator[None]:
    """Switch off bars, and log lines below errors, of the training libraries within this context."""
    import logging

    with silent_import():
        import datasets
        from transformers.utils import logging as transformers_logging

    names = ("trl", "peft", "bitsandbytes", "accelerate", "torch.distributed.elastic.multiprocessing.redirects")
    levels = {name: logging.getLogger(name).level for name in names}
    verbosity, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # One library calls what another has renamed, which a reader of the page cannot change.
            warnings.filterwarnings(
                "ignore", category=FutureWarning, module=r"(transformers|trl|peft|accelerate|torch)\b"
            )
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
