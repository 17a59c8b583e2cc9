"""The training libraries without their bars and their lines to each other, so that a page shows its own output only."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """Import transformers without the advice to install widgets for bars that no page shows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield


@contextlib.contextmanager
def without_bars() -> Iterator[None]:
    """The hub's library without bars: on an executed page each of their states is a line."""
    with importing():
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
def quiet() -> Iterator[None]:
    """No bars, and of the libraries' lines only errors; as it was before, afterwards."""
    import logging

    with importing():
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
            # One library calls what another has renamed; nothing that a reader of the page can change.
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
