"""Audit: checks of reference answers, overlaps of questions, and graders compared on the same outputs."""

import lazy_loader

VERSION = 1  # of the checks of reference answers, and of how other graders are asked

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["tables"],
    submod_attrs={
        "audit_page": ["AuditPage", "open_audit"],
        "audit_record": ["read_audit_record"],
        "cleaned_sets": ["compare_with_cleaned_sets", "read_cleaned_sets"],
        "disputed_outputs": ["DisputedOutput", "keep_completions", "read_disputed_outputs"],
        "golds": ["Finding", "check_gold"],
        "lm_eval_harness": ["is_equivalent", "is_same_number"],
        "math_verify_client": ["open_fresh_math_verify"],
        "reported_cases": ["JUDGES", "compare_on_reports", "grade_case"],
        "judged_disagreements": ["JudgedDisagreements", "read_judged_disagreements"],
    },
)
