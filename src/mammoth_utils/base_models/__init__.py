"""Base models: their architectures, where their weights are on this machine or on the hub, and what identifies them."""

import lazy_loader

VERSION = 1  # of an architecture's numbers and of what identifies a base model

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architectures": [
            "ARCHITECTURES",
            "MODEL_TYPES",
            "PROJECTIONS",
            "Architecture",
            "adapted",
            "architecture_of",
            "required_rope_theta",
            "scale_of",
            "training_problems",
        ],
        "check_folder": ["check_adapter", "check_weights"],
        "errors": ["BaseModelError"],
        "download": ["check_access", "fetch_base", "fetch_model", "locate_base"],
        "gguf_files": ["dequantised_folder", "describe_gguf", "find_gguf", "is_gguf"],
        "loading": ["load_causal_model"],
        "locations": [
            "HUB_NAME",
            "base_at_revision",
            "explain_folder",
            "find_cached",
            "find_folder",
            "identify_base",
            "is_adapter",
            "missing_files",
            "read_config",
            "require_same_base",
        ],
        "stored_weights": ["StoredWeights"],
        "weights": ["find_model", "require_weights", "weight_files", "weights_hash"],
    },
)
