"""Training: from a scale, a mixture and a method to weights and a curve. Importing it loads no torch."""

import lazy_loader

VERSION = 1  # of the rows that a step reads, the update and what is saved

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["hardware_tables"],
    submod_attrs={
        "cluster.launch": ["cluster_lines", "gpu_setup", "train"],
        "cluster.page_progress": ["LiveCurve", "StatusLine"],
        "description": ["RunDescription", "describe"],
        "loop.batches": ["CPU_ROW_TOKENS", "lay_out"],
        "loop.encoding": ["IGNORE_INDEX", "Example", "encode_rows", "mark_rationale"],
        "loop.guards": ["LOSS_TOLERANCE", "check_packing", "choose_precision", "keep_four_bit"],
        "loop.model": ["cast_trained_to_fp32", "lora_config", "quantisation_config", "torch_dtype"],
        "loop.packed_attention": ["has_varlen_kernel", "register_packed_attention", "row_inputs"],
        "loop.run_folder": ["find_record"],
        "loop.tokenizer": ["find_tokenizer", "load_tokenizer", "prepare_tokenizer"],
        "loop.trainer": ["build_trainer", "trainer_arguments"],
        "plan.gpu_fit": ["largest_micro_batch", "plan_memory"],
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
        "plan.memory": ["METHODS", "OPTIMIZERS", "PARTS"],
        "plan.planner": ["advise", "cost_table", "plan_methods", "trainable_share"],
        "plan.run_cost": ["EFFICIENCY", "PAPER_TOKENS"],
        "plan.this_machine": ["Gpu", "find_gpus", "free_memory"],
        "planner_widget": ["PlannerChoices", "planner_choices"],
        "readiness": ["NotReadyError", "check_readiness"],
        "run_summary": ["count_steps", "estimate_duration", "evaluation_parameters", "recipe_table"],
        "training_run": ["finetune"],
    },
)
