"""From thirteen sources to MathInstruct: load, ask a teacher, execute and keep, deduplicate, decontaminate, mix."""

from mammoth_utils.curation.description import Curation, describe
from mammoth_utils.curation.pipeline import curate
from mammoth_utils.curation.sources.registry import SOURCES, Source
from mammoth_utils.curation.teacher.teacher import Teacher, TeacherError

__all__ = ["SOURCES", "Curation", "Source", "Teacher", "TeacherError", "curate", "describe"]

VERSION = 1  # of which rows are kept, and in which form
