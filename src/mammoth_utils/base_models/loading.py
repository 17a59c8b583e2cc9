"""Load a model for training or decoding, and refuse one of which transformers made up a part."""

from __future__ import annotations

from typing import Any

from mammoth_utils.base_models.check_folder import explain_tensors, not_finite
from mammoth_utils.base_models.locations import BaseModelError


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

    try:
        model, report = AutoModelForCausalLM.from_pretrained(place, output_loading_info=True, **options)
    except ImportError as error:
        raise BaseModelError(f"{place} needs a library that is not installed: {error}") from error
    except RuntimeError as error:
        if "mismatched" not in str(error) and "size mismatch" not in str(error):
            raise
        raise BaseModelError(f"the weights of {place} have other shapes than its config.json says: {error}") from error
    keys = [[str(key) for key in report[f"{kind}_keys"]] for kind in ("missing", "unexpected")]
    if text := explain_tensors(*keys):
        raise BaseModelError(f"the weights of {place} are not those of its config.json: {text}")
    if not numbers:
        return model
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if getattr(model.config, "tie_word_embeddings", False) and head and head.weight is not embedding.weight:
        raise BaseModelError(f"config.json of {place} ties the head to the embedding, and its files hold another head: "
                             'put "tie_word_embeddings": false into it')  # fmt: skip
    wrong = _not_finite(model)
    if wrong:
        raise BaseModelError(not_finite(place, wrong))
    return model


def _not_finite(model: Any) -> list[str]:
    """Return the weights with a number that is not finite; of a 4-bit matrix its scales are read."""
    import torch

    wrong = []
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        values = parameter if state is None else state.absmax
        if values.device.type != "meta" and values.is_floating_point() and not torch.isfinite(values).all():
            wrong.append(name)
    return wrong
