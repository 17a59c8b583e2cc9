"""From thirteen sources to MathInstruct: load, ask a teacher, execute and keep, deduplicate, decontaminate, mix."""

from mammoth_utils.curation.description import Curation, describe
from mammoth_utils.curation.sources import SOURCES, Source
from mammoth_utils.curation.stage import curate
from mammoth_utils.curation.teachers import Teacher, TeacherError

__all__ = ["SOURCES", "Curation", "Source", "Teacher", "TeacherError", "curate", "describe"]
