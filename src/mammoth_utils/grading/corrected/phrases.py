"""Phrases that say what a number is: a bound, a denial, a condition, a correction, a check, a closing word."""

from __future__ import annotations

import re


def _any(phrases: str) -> str:
    """Return a pattern of any of some phrases; ``_`` stands for the gap between two words."""
    return "(?:" + "|".join(phrase.replace("_", r"\s+") for phrase in phrases.split()) + ")"


_OPENING = r"[$(\\\[]*"  # of a formula that follows
_THAN = _any("more greater less fewer larger smaller higher lower bigger") + r"\s+than"
_BOUND = rf"(?:{_THAN}|at\s+(?:least|most))"
_DENIAL = _any("not never no_longer anything_but")
_SURELY = _any("only still surely certainly definitely somewhere clearly")

# A clause that opens with a bound, a denial or a choice between several is no value ...
NO_VALUE = re.compile(
    rf"[\W_]*(?:{_SURELY}\s+)*(?:be\s+)?(?:(?:strictly|slightly|much|no|not)\s+)?"
    rf"(?:{_BOUND}|{_DENIAL}\b|{_any('between either above below over under up_to')}\b|one\s+of\s+(?:the\s+)?[$\d])"
    r"(?!.*\bnamely\b)",
    re.I | re.S,
)
# ... unless it goes on to one: "no more than 6, so exactly 6".
SETTLES = re.compile(rf"(?:\b{_any('exactly it_is namely')}|:)\s+(?=[$\\(]*-?\d)", re.I)
# What stands before a number that a sentence denies, bounds or thinks possible.
NO_STATEMENT = re.compile(
    rf"(?:\b{_any('not cannot never no_longer could may might perhaps maybe possibly')}|n['’]t)\s+"
    rf"(?:be\s+|equal\s+)?{_OPENING}$"
    rf"|\b(?:{_BOUND}|either)\s+{_OPENING}$",
    re.I,
)
ANSWER_DENIED = re.compile(
    rf"\banswer\s+(?:{_any('is_not cannot can_not could may might')}|isn['’]t|can['’]t)\b"
    r"(?!.*\b(?:but|it['’]s|it\s+is)\b)",
    re.I,
)
_NUMERAL = r"-?\d[\d,]*(?:\.\d+)?"
ALTERNATIVES = re.compile(
    rf"[\W_]*{_NUMERAL}\s*,?\s+or\s+(?:{_any('maybe perhaps possibly')}\s+)?{_NUMERAL}(?!\s*%|[\d/])"
    rf"|[\W_]*{_NUMERAL}\s+if\b[^.;]*?\d[\d,.]*\s+(?:if\b|otherwise)",
    re.I,
)
# What stands behind an answer and gives its reason: ", since 8 * 15 = 120".
REASON = re.compile(rf",?\s+{_any('since because')}\b", re.I)
# "at least 17" is the answer where something must be so.
MUST_BE = re.compile(rf"\b{_any('must needs need has_to have_to should')}\b[^.]*?\bat\s+(?:least|most)\b", re.I)
LEADS = re.compile(
    rf"\s*{_any('therefore thus hence then so simply clearly now indeed also finally')}\b,?\s+(?=[$\\\d(-])", re.I
)
# What stands before a formula or number that only says where, for what, or about how much.
CONDITION = re.compile(
    rf"\b{_any('where for with when if since because at given provided provided_that')}\s+"
    rf"(?:{_any('all every real')}\s+)*{_OPENING}$",
    re.I,
)
CLAUSE_OF_CONDITION = re.compile(r"\b(?:when|if|where)\b(?!.*\b(?:so|thus|then|hence|therefore|is|are)\b)", re.I | re.S)
ROUNDED = re.compile(rf"\b{_any('about approximately roughly around nearly')}\s+{_OPENING}$|≈\s*$", re.I)
_AIM = _any("have buy get reach make pay save become complete finish fill cover afford")
_MUST = "".join(rf"(?<!\b{verb}\s)" for verb in ("needs", "need", "has", "have", "had", "wants", "want"))
PURPOSE = re.compile(rf"\b{_any('so_that so_as_to in_order_to')}\b[^.;]*$|{_MUST}\bto\s+{_AIM}\b[^.;]*$", re.I)
_TIMES_AND_UNITS = _any("second minute hour day week month year mile person piece pound gallon")
A_RATE = re.compile(rf"\s*(?:\w+\s+)?(?:per\s+\w+|an?\s+{_TIMES_AND_UNITS}\b)", re.I)
_MONTHS = "January February March April May June July August September October November December"
A_DATE = re.compile(rf"\b{_any(_MONTHS)}\s+$")
# What stands behind a number that compares: "3 more than Bob", "twice as many".
COMPARES = re.compile(
    rf"\s*(?:\w+\s+){{0,2}}{_any('more fewer less times taller older younger longer shorter')}\s+"
    r"(?:\w+\s+){0,2}(?:than|as)\b",
    re.I,
)
TIMES = re.compile(r"\s*times\b", re.I)

# A correction opens a sentence; it takes an answer back where it names a slip, or states anew what "it" is.
DOUBT = re.compile(
    r"(?:(?<=[.!?\n*$)\]])|^)\s{0,4}(?:(?:but|oh,?|and|no,?)\s+)?"
    rf"(?:{_any('wait hmm+ actually correction edit update on_second_thought sorry oops apologies')}"
    rf"|{_any('scratch_that strike_that')}|i\s+{_any('made see forgot misread was_wrong take_that_back')}"
    rf"|{_any('that this')}(?:['’]s|\s+is|\s+was)\s+{_any('wrong incorrect not_right not_correct')})\b",
    re.I,
)
SLIP = re.compile(
    rf"\b(?:{_any('mistake wrong incorrect error overlooked forgot misread')}"
    rf"|{_any('confusion miscalculated instead_of correction edit scratch_that strike_that take_that_back')})\b",
    re.I,
)
TAKES_BACK = re.compile(
    rf"\b{_any('oops sorry apologi[sz]e should_be should_have instead not_right not_correct actually no')}\b", re.I
)
CHECKS_AGAIN = re.compile(r"\bre-?(?:check|do|calculat|comput|consider|count)\w*", re.I)
_WHAT = _any("result total value probability number sum count cost price area volume amount")
STATES_ANEW = re.compile(
    rf"\b(?:it|this|that|the\s+(?:{_any('correct right true final actual real new')}\s+)?{_WHAT})\s+"
    rf"(?:is|{_any('should must would')}\s+be|equals)\s*:?\s*(?:{_any('then therefore really')}\s+)?"
    r"(?=[$\\*(-]*(?:\d|\\|[a-z]?\s*=))",
    re.I,
)

# A check or a remark behind an answer, and what says that it was none: the text concludes only later.
REMARKS = re.compile(
    r"(?:(?<=[.!?\n])|^)[ \t]*(?:\*\*)?(?:let\s+me\s+(?:verify|check|double)|let['’]s\s+(?:verify|check)"
    r"|check(?:ing)?\b(?!ed)|to\s+(?:check|verify)|we\s+can\s+(?:check|verify)|as\s+a\s+(?:check|sanity)"
    rf"|{_any('verification verify note_that notice_that remark which_is_in_the_form')}"
    rf"|this\s+{_any('makes_sense is_consistent checks')}"
    r"|indeed\b)",
    re.I | re.M,
)
CONCLUDING = re.compile(
    rf"\b{_any('so thus hence therefore total finally altogether conclude')}\b"
    r"|[.!?\n]\s+(?:The|Each|He|She|They|It)\b[^.]*?\b(?:is|are|has|have)\b[^.]*?\d",
    re.I,
)
EXPLAINS = re.compile(
    rf"^[ \t*#_]{{0,12}}(?:{_any('explanation reasoning note check verification justification why i_hope let_me_know')}"
    r"|step[- ]by[- ]step)\b",
    re.I | re.M,
)

# What a program prints behind its answer: the value of a print, a closing word, a rule, a table's foot, a warning.
CLOSING = re.compile(
    rf"\s*(?:{_any('None done finished completed success successfully end ok')}"
    rf"|{_any('process program execution calculation')}\s+{_any('finished ended complete completed')}"
    r"(?:\s+with\s+exit\s+code\s+\d+)?|[-=*_~#─═]{3,}|(?:Name:[^\n]*,\s*)?dtype:\s*\w+|Length:\s*\d+"
    r"|thank(?:s|\s+you)\b[^\d\n]*|done\s+in\s+[^\n]*|\([^()\n]*[a-z]{3,}[^()\n]*\)"
    r"|(?:verification|verified|check(?:ed)?|valid)\s*[:=]\s*(?:true|ok|passed)"
    r"|[^\n]*\w*Warning:[^\n]*|warnings\.warn[^\n]*)[\s.!]*",
    re.I,
)
RUN_TIME = re.compile(
    rf"\s*(?:elapsed|(?:{_any('run running execution cpu total')}?\s*time(?:\s+(?:taken|elapsed))?))"
    r"\s*[:=]\s*[\d.e-]+\s*(?:s|ms|sec|seconds)\s*",
    re.I,
)
