"""The miniature: a small generated world of problems, sources and benchmarks of the paper's shape, and its teacher."""

import lazy_loader

VERSION = 2  # of the problems, rationales and answers of the world and of its teacher

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["benchmarks", "problems", "sources", "teacher"],
    submod_attrs={"problems": ["WORLD"], "worlds": ["MINIATURE", "WORLDS", "variant_of"]},
)
