"""Base models: their architectures, where their weights are on this machine or on the hub, and what identifies them."""

import lazy_loader

VERSION = 1  # of an architecture's numbers and of what identifies a base model

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "architectures": ["ARCHITECTURES", "Architecture", "architecture_of"],
        "download": ["BaseModelError", "check_access", "fetch_base", "locate_base"],
        "locations": [
            "HUB_NAME",
            "base_at_revision",
            "find_cached",
            "find_folder",
            "identify_base",
            "missing_files",
        ],
        "stored_weights": ["StoredWeights"],
        "weights": ["find_model", "require_weights", "weight_files", "weights_hash"],
    },
)
