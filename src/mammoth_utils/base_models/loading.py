"""Load a model for training or decoding, and refuse one of which transformers made up a part."""

from __future__ import annotations

import math
from typing import Any

from mammoth_utils.base_models.check_folder import check_weights, explain_tensors, not_finite
from mammoth_utils.base_models.errors import BaseModelError
from mammoth_utils.base_models.locations import find_cached, find_folder


def load_causal_model(place: str, numbers: bool = True, **options: Any) -> Any:
    """Return a causal language model whose weights are all from its files, and finite.

    Args:
        numbers: Whether this process holds the weights; of a model that FSDP cuts, the first of a machine does alone.
        options: As ``from_pretrained`` takes them.

    Raises:
        BaseModelError: If a tensor is missing, unexpected or of another shape, a tied head has weights of its own, or
            weights are not finite; the message names some.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    folder = find_folder(place) or find_cached(place, options.get("revision", ""))
    if "quantization_config" in options and numbers and folder is not None:
        check_weights(folder, finite=True, limit=math.inf)  # 4 bits have no code for what is not finite
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what the report of loading says is raised below
    try:
        model, report = AutoModelForCausalLM.from_pretrained(place, output_loading_info=True, **options)
    except RuntimeError as error:
        if "mismatched" not in str(error) and "size mismatch" not in str(error):
            raise
        raise BaseModelError(f"the weights of {place} have other shapes than its config.json says: {error}") from error
    except (ImportError, KeyError, TypeError, ValueError) as error:
        raise BaseModelError(f"transformers does not load {place}: {type(error).__name__}: {error}") from error
    finally:
        logging.set_verbosity(verbosity)
    keys = [[str(key) for key in report[f"{kind}_keys"]] for kind in ("missing", "unexpected")]
    if text := explain_tensors(*keys):
        raise BaseModelError(f"the weights of {place} are not those of its config.json: {text}")
    if not numbers:
        return model
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if getattr(model.config, "tie_word_embeddings", False) and head and _differ(head.weight, embedding.weight):
        raise BaseModelError(f"config.json of {place} ties the head to the embedding, and its files hold another head: "
                             'put "tie_word_embeddings": false into it')  # fmt: skip
    wrong = _not_finite(model)
    if wrong:
        raise BaseModelError(not_finite(place, wrong))
    return model


def _differ(one: Any, other: Any) -> bool:
    """Return whether two weights hold other numbers; those that stay on disk are not read."""
    return (
        one is not other
        and "meta" not in (one.device.type, other.device.type)
        and bool((one.cpu() != other.cpu()).any())
    )


def _not_finite(model: Any) -> list[str]:
    """Return the weights with a number that is not finite; those in 4 bits were read from their files."""
    import torch

    # Stored for FSDP, 4-bit codes have the type of a float and are none.
    weights = [(name, value.detach()) for name, value in model.named_parameters() if not hasattr(value, "quant_state")]
    return [
        name
        for name, value in weights
        if value.is_floating_point() and value.device.type != "meta" and not torch.isfinite(value).all()
    ]
