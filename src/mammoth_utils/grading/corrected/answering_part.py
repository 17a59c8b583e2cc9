"""Which part of a completion answers the question: not a next question, another turn of a chat, or thinking aloud."""

from __future__ import annotations

import re

WINDOW = 20_000  # characters from the end that are looked at

SAYS_IT = r"[\"'*]*\s*\**\s*(?:\b(?:is|are|(?:would|must|should|will) be)\b|:|=|：|[-–—](?=\s))"
TRIGGER = re.compile(
    # To look at the first characters is cheaper than to try every phrase.
    r"(?=[\\#<acrf*_ \t答故选])"
    r"(?:\\(?:boxed|fbox)(?![A-Za-z])|####|<(?:final_?)?answer>"
    rf"|(?=an)\b(?:answers?(?:\s+to\s+(?:the|this)\s+(?:question|problem))?{SAYS_IT}\s*\**|Ans\b\.?\s*[:=]"
    r"|Antwort\s*(?:ist|lautet|:))|(?=co|ri|cl)\b(?:correct|right|closest)\s+(?:option|choice)\s*(?:\b(?:is|are)\b|:)"
    rf"|(?=fi)\bfinal answer\b(?!{SAYS_IT})|^[ \t]*(?:\#{{1,6}}[ \t]*|\*\*|__)answers?(?:\*\*|__)?[ \t]*$"
    r"|(?=r[eé])\b(?:r[ée]ponse(?:\s+\w+)?\s+est\b|respuesta(?:\s+\w+)?\s+es\b)"
    r"|答案\s*(?:应该)?(?:选|是|为|：|:)|故?选项?\s*[:：]?(?=\s*[(（]?[A-Z]))",
    re.I | re.M,
)
_ASKS = r"(?:question|problem|exercise|example|instruction|input|human|user|q)"
_NEXT_QUESTION = re.compile(
    rf"^(?=[ \t#*\[\\beihnpqu])(?:[ \t]*(?:\#{{1,4}}[ \t]*|\*\*)?(?:(?:next|new)[ \t]+)?{_ASKS}[ \t]*\d*[ \t]*(?:\*\*)?"
    rf"[:.](?=\s|\*)|[ \t]*\#{{2,4}}[ \t]*{_ASKS}\b|\[{_ASKS}\]|\\(?:sub)*section\*?\{{{_ASKS}\b"
    r"|Below is an instruction\b)",
    re.I | re.M,
)
_UNNAMED_QUESTION = re.compile(r"\n[ \t]*\n(?=[^\n]*\d)[A-Z0-9][^\n]*\?[ \t]*\n")  # a paragraph that asks
_TURN = re.compile(
    r"<｜[^<>\n]{1,40}｜>|<\|(?:im_start|im_end|endoftext|end_of_text|eot_id|eom_id|end|user|start_header_id)\|>|</?s>|\[/?INST\]"
    r"|<(?:start|end)_of_turn>|<\|?EOT\|?>"
)
_SPEAKER = re.compile(
    r"\s*[#*]*\s*(?:q|human|user|instruction|next|new)\b", re.I
)  # "Question:" may head the question as it was asked
_CONCLUSION = re.compile(r"^(?:so|thus|hence|therefore)\b[^\n]*\d[^\n]*\n\s*\Z", re.I | re.M)
_DIGIT = re.compile(r"\d")
_THOUGHT = re.compile(r"</think(?:ing)?>")


def answering_part(completion: str) -> tuple[int, int]:
    """Return start and end of the part of a completion in which its answer is looked for.

    What the model itself asks next, once an answer was stated, and what stands behind the end of its turn do not count;
    nor does what it thinks before it answers. Of what is left the last ``WINDOW`` characters count.
    """
    end = len(completion)
    for turn in _TURN.finditer(completion):
        if completion[: turn.start()].strip() and not _opens_an_answer(completion, turn):
            end = turn.start()
            break
    if next(_NEXT_QUESTION.finditer(completion, 0, end), None):
        stated, number = TRIGGER.search(completion, 0, end), _DIGIT.search(completion, 0, end)
        for asked in _NEXT_QUESTION.finditer(completion, 0, end):
            answered = stated is not None and stated.end() <= asked.start()
            spoken = number is not None and number.end() <= asked.start() and _asks(completion, asked, end)
            if answered or spoken:
                end = asked.start()
                break
    for asked in _UNNAMED_QUESTION.finditer(completion, 0, end):
        if TRIGGER.search(completion, 0, asked.start()) and TRIGGER.search(completion, asked.end(), end):
            end = asked.start()
            break
    thoughts = [thought.end() for thought in _THOUGHT.finditer(completion, 0, end)]
    start = thoughts[-1] if thoughts and completion[thoughts[-1] : end].strip() else 0
    return max(start, end - WINDOW), end


def _opens_an_answer(completion: str, turn: re.Match) -> bool:
    """Return whether only other such marks and the speaker's name stand before a mark."""
    before = _TURN.sub("", completion[: turn.start()]) if turn.start() < 200 else "x"
    return re.fullmatch(r"\s*(?:assistant|model)?\s*", before, re.I) is not None


def _asks(completion: str, asked: re.Match, end: int) -> bool:
    """Return whether a question follows another speaker or a conclusion, though no answer was announced before."""
    concluded = _CONCLUSION.search(completion, max(0, asked.start() - 400), asked.start())
    return (concluded or _SPEAKER.match(asked.group())) is not None and "?" in completion[
        asked.end() : min(end, asked.end() + 2000)
    ].partition("\n\n")[0]
