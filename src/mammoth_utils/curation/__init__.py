"""Curation: from thirteen sources to MathInstruct. Load, ask a teacher, execute, filter, decontaminate, mix."""

import lazy_loader

VERSION = 1  # of which rows are kept, and in which form

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["contamination", "filters", "rebuild_record", "tables"],
    submod_attrs={
        "at_scale.sharded_curation": ["curate_in_shards"],
        "at_scale.shards": ["ShardSettings"],
        "description": ["Curation", "describe"],
        "export": ["Export", "export_mixture"],
        "mathinstruct_rows": ["format_row"],
        "mixtures": ["read_mixture"],
        "own_data": ["resolve_dataset"],
        "pipeline": ["curate", "ensure_dataset"],
        "sources.download": ["public_files"],
        "sources.release": ["PROGRAM_TRIGGERS", "RELEASE_ROWS", "RELEASE_SOURCES", "parse_release", "stream_release"],
        "teacher.prices": ["Price", "price_table"],
        "teacher.prompt_files": ["prompt_for"],
        "teacher_stage": ["description_after_dry_run", "plan_teacher_requests"],
    },
)
