"""Training: from a scale, a mixture and a method to weights and a curve. Importing it loads no torch."""

import lazy_loader

VERSION = 1  # of the rows that a step reads, the update and what is saved

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["hardware_tables"],
    submod_attrs={
        "cluster.launch": ["cluster_lines", "gpu_setup", "prepare", "train"],
        "cluster.page_progress": ["LiveCurve", "StatusLine"],
        "description": ["RunDescription", "describe"],
        "export.merge_adapter": ["merge"],
        "loop.checkpoints": ["last_complete"],
        "loop.encoding": ["encode_rows", "marked"],
        "loop.finetune": ["finetune"],
        "loop.finished_tokenizer": ["tokenizer_here"],
        "loop.guards": ["precision"],
        "loop.model": ["load_tokenizer"],
        "loop.run_folder": ["finished"],
        "plan.gpu_models": ["GPU_NAMES"],
        "plan.literature": ["published_memory_table", "published_speed_table"],
        "plan.measurements": [
            "EXACT_PARTS",
            "MEASURED_SHAPES",
            "MEASURE_COMMAND",
            "PEAK_WITHIN",
            "allocator_excess",
            "committed_measurements",
            "compare_measurement",
        ],
        "plan.memory": ["METHODS", "PARTS"],
        "plan.planner": ["advise", "cost_table", "plan_methods", "trainable_share"],
        "plan.run_cost": ["EFFICIENCY", "PAPER_TOKENS"],
        "plan.this_machine": ["Gpu", "find_gpus"],
        "readiness": ["NotReadyError", "check_readiness"],
        "run_summary": ["count_steps", "estimate_duration", "evaluation_parameters", "recipe_table"],
    },
)
