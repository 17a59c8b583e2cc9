"""One plain notation, which `parser` reads, of what LaTeX, prose and Python's output write."""

from __future__ import annotations

import html
import re
import unicodedata
from fractions import Fraction
from functools import lru_cache

from mammoth_utils.grading._formulas.units import NO_WORDS
from mammoth_utils.grading._formulas.words import SPOKEN

# Nothing longer is parsed: the longest gold of MATH has 159 characters, of TheoremQA 102.
MAX_TEXT = 1200
MAX_REPEATING = 60  # digits of a repeating decimal
ROW_BREAK = "¶"

_SPACES = re.compile(r"\\[,;: ]|\\quad|\\qquad|~|\s+")
# What dresses a formula and says nothing: colours, spaces, marks at its end.
_DRESS = re.compile(
    r"\\(?:left|right)\s*\.(?!\d)"
    r"|\\(?:color|tag|label|hspace|vspace|mspace|hskip|phantom|hphantom|vphantom)\*?\s*(?:\[[^\]]*\])?\{[^{}]*\}"
    r"|(?:\\\\\s*\[[^\[\]]{0,12}\])?[\\\s]+$|\\\\\s*\[[^\[\]]{0,12}\]\s*$"
)
_COLOURED = re.compile(r"\\(?:textcolor|colorbox)\s*\{[^{}]*\}\s*(?=\{)")
TAG = re.compile(r"</?(?:b|i|u|em|strong|span|p|div|code|center|font)(?:\s[^<>]*)?>|<br\s*/?>")
_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{1,6}|#[xX][0-9A-Fa-f]{1,5});")
_DROPPED = re.compile(r"\\!|\\\(|\\\)|\\\[|\\\]|\\\$|[$€£¥]|\*\*(?=\s*$)|^\s*\*\*")
_TEXTS = re.compile(
    r"\\(?:text|textbf|textit|textrm|textnormal|textup|textsf|texttt|mbox|mathrm|mathbf|mathit|mathsf|mathnormal"
    r"|operatorname|emph|boldsymbol|bm|pmb|underline)\b\*?"
)
_ONE_LETTER = {"m": "meters", "g": "grams", "s": "seconds", "h": "hours", "l": "liters"}


def _over(match: re.Match) -> str:
    above, below = match.groups()[:2] if match[1] is not None else match.groups()[2:]
    return f"{{\\frac{{{above.strip()}}}{{{below.strip()}}}}}"


_SPACE = r"(?:\s|\\[,;:! ]|~)"  # between a number and its unit
_INTERVALS = {"open": "OpenInterval(", "Lopen": "LopenInterval(", "Ropen": "RopenInterval("}
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_MEANINGS = {
    "": "left right big bigl bigr Big Bigl Bigr displaystyle limits mathstrut hfill nonumber pounds lbrace rbrace "
        "bf rm it sf tt tiny small normalsize large Large LARGE huge Huge textstyle scriptstyle "
        "boldmath checkmark blacksquare square qed Box allowbreak newline hline",
    "*": "cdot times ast", "/": "div", "±": "pm", "∓": "mp", "<=": "le leq leqslant", ">=": "ge geq geqslant",
    "<": "lt", ">": "gt", "!=": "ne neq", "=": "equiv", "|": "lvert rvert vert mid", ":": "colon", "(": "langle",
    ")": "rangle rfloor rceil", " floor(": "lfloor", " ceil(": "lceil", "∪": "cup", "∈": "in",
    "∖": "setminus backslash smallsetminus", " oo ": "infty", " pi ": "pi", " degrees ": "degree", " cents": "cent",
    "[": "lbrack", "]": "rbrack", "i": "imath", "j": "jmath", " or ": "lor", " and ": "land",
    "≈": "approx approxeq simeq thickapprox fallingdotseq doteq cong",
    "…": "dots ldots cdots hdots dotsc dotsb dotsm dotsi", r"\{\}": "emptyset varnothing",
    r"\frac": "dfrac tfrac cfrac nicefrac flatfrac sfrac", r"\vec": "overrightarrow overleftrightarrow",
}  # fmt: skip
_MEANING = {name: meaning for meaning, names in _MEANINGS.items() for name in names.split()}
_SIGNS = {
    **dict.fromkeys("·×⋅∙", "*"), "÷": "/", **dict.fromkeys("−–—‐‑", "-"), "≤": "<=", "⩽": "<=", "≥": ">=", "⩾": ">=",
    "≠": "!=", "≃": "≈", "≅": "≈", "≡": "=", "¢": " cents", "ℝ": " Reals ", "∞": " oo ", "π": " pi ", "°": " degrees ",
    "∅": r"\{\}", "⁄": "/", **dict.fromkeys("✓✔✅■□", " "), "\u3000": " ", "\u3002": ".",
}  # fmt: skip
_SIGNS |= {chr(0xFF01 + at): chr(0x21 + at) for at in range(94)}  # full width
_TRANSLATED = str.maketrans(
    _SIGNS | dict.fromkeys(map(chr, (0xAD, *range(0x2060, 0x2065), 0xFEFF, *range(0x200B, 0x2010))), "")
)
# Each pattern with what a text must hold for it: most hold little of it, and to look is cheaper than to match.
_REPLACED = [
    (tuple(needles.split()), re.compile(pattern), by)
    for needles, pattern, by in (
        ("...", r"(?<=,)\s*\.\.\.(?=\s*,)", "…"),
        ("infinity", r"\binfinity\b", " oo "),
        ("+/- +-", r"\+/-|\+-", "±"),
        ("==", r"==", "="),
        ("Omega Ω", rf"(?<=\d){_SPACE}*(?:\\Omega|Ω){_SPACE}*$", " ohms"),
        ("\\frac", rf"(?<=\d){_SPACE}*\\frac\s*\{{\s*([A-Za-z]{{1,12}})\s*\}}\s*\{{\s*([A-Za-z]{{1,12}})\s*\}}\s*$",
         r" \1/\2"),
        ("^{-1} ^{-2}",
         rf"(?<=\d){_SPACE}+([A-Za-z]{{1,12}})(?:{_SPACE}|\*)+([A-Za-z]{{1,6}})\s*\^\s*\{{-([12])\}}\s*$",
         lambda match: f" {match[1]}/{match[2]}" + ("^2" if match[3] == "2" else "")),
        ("\\mathbb", r"\\mathbb\s*\{?\s*R\s*\}?", " Reals "),
        ("\\%", r"\\%", "%"),
        ("\\circ", r"\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])", " degrees "),
        ("**", r"(?<=\S)\*\*(?=[\s.,;:!?)]|$)|(?<=\s)\*\*(?=\S)", ""),  # 36** handshakes were bold
        ("**", r"\*\*", "^"),
        ("x X", r"(?<=[\d.])(?<!\b0)\s*[xX]\s*(?=\d)", "*"),
        ("0o 0b", r"^\s*0([ob])([0-7]+)\s*$", lambda match: f"{match[2]}_{8 if match[1] == 'o' else 2}"),
        ("\\choose", r"\{([^{}]*)\\choose(?![A-Za-z])([^{}]*)\}", r"\\binom{\1}{\2}"),
        ("\\over", r"\{([^{}]*)\\over(?![A-Za-z])([^{}]*)\}|^([^{}\\]*)\\over(?![A-Za-z])([^{}\\]*)$", _over),
        ("\\overline \\bar", r"\\(?:overline|bar)\s*\{\s*([A-Z]{2})\s*\}", r"\1"),  # a segment is named by its ends
        ("C comb", r"(?<![A-Za-z])(?:C|comb|nCr)\s*\(\s*(\d+)\s*,\s*(\d+)\s*\)", r"binomial(\1,\2)"),
        ("Interval.", r"\bInterval\.([olLrR])(open|pen)\(", lambda match: _INTERVALS[match[1] + match[2]]),
        ("<", r"^\s*<(?=[^<>=]*,[^<>=]*>\s*$)", "("),
        (">", r"(?<=[^<>=])>(?=\s*$)", ")"),
        # 9:00 a.m. and 9 AM are 9 am
        ("m M", r"(?i)\b(\d{1,2})(?::00|(:\d\d))?\s*([ap])\.?\s?m\b\.?",
         lambda match: f"{match[1]}{match[2] or ''} {match[3].lower()}m"),
        ("j", r"^([^iI]*\d)j(?=[^A-Za-z]*$)", r"\1i"),  # Python's imaginary unit
        ("st nd rd th", r"(?<=\d)(?:st|nd|rd|th)\b|(?<=\d)\s*\^\s*\{?\s*(?:st|nd|rd|th)\b\s*\}?", ""),
        ("degrees", r"(\d+)\s*degrees\s*(\d+)\s*['′]\s*(\d+(?:\.\d+)?)\s*(?:''|\"|″)", r"(\1+\2/60+\3/3600) degrees "),
        ("degrees", r"(\d+)\s*degrees\s*(\d+(?:\.\d+)?)\s*(?:'|′|\^\s*\{?\s*\\prime\s*\}?)(?!')",
         r"(\1+\2/60) degrees "),
        ("_", r"(?<=\d)_(\d{3})(?!\d)", r"\1"),  # Python's 12_000
        ("_{", r"(?<=\d)\s*_\s*\{\s*([a-z]{3,8})\s*\}", lambda match: f"_{{{SPOKEN.get(match[1], match[1])}}}"),
        ("dict_", r"\bdict_(?:values|keys)\((\[.*\])\)", r"\1"),
        ("datetime", r"\bdatetime\.date\((\d{4}), (\d{1,2}), (\d{1,2})\)", r"\1-\2-\3"),
        ("'", r"'([A-Za-z]\w*)'\s*:", r"\1:"),
        ('"', r'"([A-Za-z]\w*)"\s*:', r"\1:"),
        ("which", r",?\s*\bwhich\s+(?:equals|is\s+equal\s+to|is)\s+(?=-?[\d.\\])", " = "),
        ("Point", r"\bPoint[23]D\(", "Point("),
        ("√", r"√\s*(\d+(?:\.\d+)?|[A-Za-z])", r"sqrt(\1)"),
        ("√", r"√", "sqrt"),
        (".", r"\b(?:np|numpy|math|sympy|sp|mpmath)\.(?=[A-Za-z])", ""),
        ("float int", r"\b(?:float|int)(?:16|32|64)?\s*\((-?[0-9.e+-]+)\)", r"\1"),
        ("Decimal mpf", r"\b(?:Decimal|mpf)\s*\(\s*['\"]([^'\"()]*)['\"]\s*\)", r"\1"),
    )
]  # fmt: skip
_ROW_GAP = re.compile(r"\\\\\s*\[\s*-?[\d.]+\s*(?:pt|em|ex|mm|cm)\s*\]")
_THOUSANDS = re.compile(r"(?<=\d)\s*\{\s*,\s*\}\s*(?=\d{3})|(?<=\d),\s*\\!\s*(?=\d{3})|,\s*\\!\s*(?=\d{3})")
_REPEATING = re.compile(
    r"(\d*)\.(\d*)\s*(?:\\(?:overline|bar|dot)\s*\{?\s*(\d+)\s*\}?(?!\s*\d*\\dot)|\((\d+)\)(?![\d.(!^]))"
)
_DOTTED = re.compile(r"(\d*\.\d*)\\dot\s*\{?\s*(\d)\s*\}?\s*(\d*)\s*\\dot\s*\{?\s*(\d)\s*\}?")  # 0.\dot{1}4\dot{2}
_OVERLINED = re.compile(r"((?:\d[\u0304\u0305])+)")  # 0.3̅, a line over each digit
# A block that an ellipsis lets go on: three times a digit, twice several of them.
_GOES_ON = re.compile(
    r"(?<!\d)(\d{0,20})\.(\d{0,20}?)(?:(\d)\3{2,20}|(\d{2,12}?)\4{1,10})\d{0,11}?\s*(?:\.\.\.|…|\\[lc]?dots)$"
)
_MODULUS = re.compile(
    r"\s*(?:\\[pb]?mod(?![A-Za-z])|\(\s*(?:\\text\s*\{\s*)?mod\b|\bmod\b)\s*\}?\s*\{?\s*(\d+)\s*\}?\s*\)?\s*$"
)
_ASIDE_VALUE = re.compile(
    r"(?<=\d)\s+\((\d*\.\d{3,})\)$|(?<=\S)\s*(?:\(\s*(?:or|approximately|approx\.?|about|roughly|≈|~|i\.e\.,?)[\s~]*"
    r"(?:about\s+|approximately\s+|≈\s*)?"
    r"(-?\d*\.?\d+\s*%?)\s*\)|,?\s+or\s+(?:about|approximately|roughly)\s+(-?\d*\.?\d+\s*%?))$"
)
_OVER = re.compile(r"(?<![\w.,])(\d+(?:\.\d+)?)\s+over\s+(\d+(?:\.\d+)?)(?![\w.,]*\d)", re.I)  # 8 over 49
_ASIDE = re.compile(r"(?<=[\d%])\s+\((?=[^()]*[A-Za-z]{3})[A-Za-z][A-Za-z .,'’-]*\)$")
# 1200 base 7, (1200)_7
_IN_BASE = re.compile(r"^\(?\s*(-?\d+)\s*\)?(?:\s+\(?\s*(?:in\s+)?base\s+|(?<=\))\s*_\s*)\{?(\d+)\}?\s*\)?$")
_APPROXIMATE = re.compile(r"^(?:approximately|approx\.?|about|around|roughly|exactly|equal to|just|only|=|:)\s*", re.I)
_BRACKET_OR_THOUSANDS = re.compile(r"[()\[\]]|\\[{}]|(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,]*\d)")


def unwrapped(text: str, command_end: int) -> tuple[int, int] | None:
    """Return start and end of what the braces after a position hold; None if no brace follows or closes."""
    start = command_end
    while start < len(text) and text[start] == " ":
        start += 1
    if start >= len(text) or text[start] != "{":
        return None
    depth = 0
    for brace in re.compile(r"[{}]").finditer(text, start):
        at = brace.start()
        if not _escaped(text, at):
            depth += 1 if text[at] == "{" else -1
            if depth == 0 and text[at] == "}":
                return start + 1, at
    return None


def _escaped(text: str, at: int) -> bool:
    """Return whether a brace is one of a set: ``\\}`` is, and behind a row break (``\\\\}``) it is none."""
    before = at
    while before and text[before - 1] == "\\":
        before -= 1
    return (at - before) % 2 == 1


def without_text_commands(text: str) -> str:
    """Return the text with ``\\text{...}`` and its kin replaced by what they hold, set off by spaces."""
    parts, at = [], 0
    for match in _TEXTS.finditer(text):
        inside = unwrapped(text, match.end())
        if match.start() < at or inside is None:
            continue
        held = text[inside[0] : inside[1]]
        if text[: match.start()].strip():  # 2\\pi\\text{ m} is a length, 2\\pi m a product
            held = _ONE_LETTER.get(held.strip(), held)
        parts.append(text[at : match.start()] + f" {held} ")
        at = inside[1] + 1
    return "".join(parts) + text[at:]


@lru_cache(maxsize=512)  # a text is read, then asked whether it says anything, then compared
def plain(text: str) -> str:
    """Return a text in plain notation: no delimiters, spacing commands, dollar signs or trailing dots.

    What is longer than ``MAX_TEXT`` comes back cut of its spaces only, for comparison as text.
    """
    text = text.strip()
    if len(text) > MAX_TEXT:
        return " ".join(text.split())
    if "</" in text:
        text = TAG.sub(
            "", re.sub(r"<su([bp])>(.*?)</su\1>", lambda match: f"{'_^'[match[1] == 'p']}{{{match[2]}}}", text)
        )
    if "&" in text:
        text = _ENTITY.sub(lambda match: html.unescape(match.group()), text)
    text = in_our_notation(undressed(spelled(text)))
    for _ in range(3):  # \text{\textbf{...}} nests, never deeply
        if "\\" not in text or not _TEXTS.search(text):
            break
        text = without_text_commands(text)
    if "," in text and "\\" in text or "{" in text:
        text = _THOUSANDS.sub("", text)
    if "." in text:
        if text.endswith(("...", "…", "dots")):
            text = _GOES_ON.sub(_repeating, text)
        text = _REPEATING.sub(_repeating, _DOTTED.sub(r"\1\\overline{\2\3\4}", text))
    if "over" in text:
        text = _OVER.sub(r"(\1)/(\2)", text)
    if "arrow" in text or "\\i" in text:
        text = _IMPLIES.split(text)[-1] or text
    if "{a" in text or "{s" in text or "{g" in text:
        text = _as_cases(text)
    if "cases" in text:
        text = re.sub(r"\b(?:if|for|when|where)\b", " ", text)
    if "array" in text:
        text = re.sub(r"\\begin\{array\}\{[^{}]*\}", r"\\begin{array}", text)
    # A matrix's row break is protected from what follows: "\\\\ 3" would lose a backslash as the command "\\ ".
    text = _ROW_GAP.sub(r"\\\\", text).replace("\\\\", ROW_BREAK) if "\\\\" in text else text
    text = _DROPPED.sub("", text)
    if "\\" in text:
        text = _COMMAND.sub(lambda match: _MEANING.get(match[1], match[0]), text)
    for needles, pattern, by in _REPLACED:
        for needle in needles:
            if needle in text:
                text = pattern.sub(by, text)
                break
    text = _SPACES.sub(" ", text).strip()
    text = text.rstrip(" .,;:!?`*" if not re.search(r"[\w)]!$", text) else " .,;:?`").lstrip(" `:")
    if " or " in text or text.endswith(")"):
        text = _ASIDE_VALUE.sub(lambda match: f" ≈ {match[match.lastindex]}", text)
    if text[:1] in "=:" or text[:1].isalpha():
        for _ in range(2):
            text = _APPROXIMATE.sub("", text)
    text = without_outer_group(text)
    if (aside := _ASIDE.search(text)) and not re.search(NO_WORDS, aside.group()):  # "5 (five)"
        text = text[: aside.start()]
    text = _IN_BASE.sub(r"\1_{\2}", text.strip())
    return "(-oo, oo)" if text == "Reals" else text


_IMPLIES = re.compile(r"\\(?:Longrightarrow|Rightarrow|implies|Leftrightarrow|Longleftrightarrow|iff)(?![A-Za-z])")
_ALIGNED = re.compile(r"\\(begin|end)\s*\{(?:aligned|align\*?|alignat|split|gathered|gather\*?)\}")


def _as_cases(text: str) -> str:
    """Return aligned lines as cases, a chain that goes on over lines (``x &= 2 \\\\ &= 3``) as one."""
    if not _ALIGNED.search(text):
        return text
    text = re.sub(r"\\\\\s*=", "=", _ALIGNED.sub(r"\\\1{cases}", text).replace("&", ""))
    lone = re.fullmatch(r"\s*\\begin\{cases\}(.*)\\end\{cases\}\s*", text, re.S)
    return lone[1] if lone and "\\\\" not in lone[1] else text


def without_outer_group(text: str) -> str:
    """Return what a lone ``\\boxed{...}`` or pair of grouping braces holds; Python's sets and dicts keep theirs."""
    for _ in range(4):
        start = 0 if text.startswith("{") else len("\\boxed") if text.startswith("\\boxed") else -1
        inside = unwrapped(text, start) if start >= 0 else None
        if inside is None or inside[1] != len(text) - 1 or (not start and re.search(r"[,:;]", text)):
            break
        text = text[slice(*inside)].strip(" .")
    return text


def undressed(text: str) -> str:
    """Return a text without what only dresses it: colours, sizes, spaces, ``\\checkmark``, a row break at its end."""
    if "\\" in text:
        if _DOUBLED.search(text) and not _SINGLE.search(text):  # JSON's backslashes, written twice
            text = text.replace("\\\\", "\\")
        text = _DRESS.sub(" ", _COLOURED.sub("", text))
    return text


_DOUBLED, _SINGLE = re.compile(r"\\\\[A-Za-z]"), re.compile(r"(?<!\\)\\(?:\\\\)*[A-Za-z]")


def modulus(text: str) -> tuple[str, str | None]:
    """Return a text without the modulus behind it, and the modulus: ``3 \\pmod 7`` as ``3`` and ``7``."""
    match = _MODULUS.search(text) if "mod" in text else None
    return (text[: match.start()], match[1]) if match and match.start() else (text, None)


def _repeating(match: re.Match) -> str:
    """Return ``0.1\\overline{6}`` as the exact fraction that it is."""
    whole, once, *blocks = match.groups()
    again = next(block for block in blocks if block)
    if len(whole + once + again) > MAX_REPEATING:
        return match.group()
    nines, zeros = 10 ** len(again) - 1, 10 ** len(once)
    value = Fraction(int(whole + once or "0") * nines + int(again), nines * zeros)
    return f"({value.numerator}/{value.denominator})"


def joined_thousands(text: str) -> str:
    """Return the text without thousands separators; ``1,300`` is a number, ``1, 300`` and ``(1,300)`` are lists."""
    if "," not in text or re.match(r"\s*(?:\\?\{|[(\[])", text):
        return text
    parts, at, depth = [], 0, 0
    for match in _BRACKET_OR_THOUSANDS.finditer(text):
        sign = match.group()
        if sign[0].isdigit():
            parts += [text[at : match.start()], sign.replace(",", "") if depth <= 0 else sign]
            at = match.end()
        else:
            depth += 1 if sign[-1] in "([{" else -1
    return "".join(parts) + text[at:]


_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_RUNS = [(re.compile(f"[{''.join(table)}]+"), sign, table) for sign, table in (("^", _RAISED), ("_", _LOWERED))]
_FRACTION = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")  # ¼ to ¾, ⅐ to ⅞, ↉


def spelled(text: str) -> str:
    """Return a text in the notation of a keyboard: ``2⅓`` as ``2 1/3``, ``10⁻³`` as ``10^{-3}``."""
    if text.isascii():
        return text
    text = re.sub(r"(?<=\d)(?=(?:[cmk]?m|ft|in)[²³])", " ", text.translate(_TRANSLATED))  # 12m² is an area
    text = _OVERLINED.sub(lambda match: f"\\overline{{{re.sub('[^0-9]', '', match[1])}}}", text)
    text = _FRACTION.sub(lambda match: " " + unicodedata.normalize("NFKC", match.group()).replace("⁄", "/"), text)
    for run, sign, table in _RUNS:
        text = run.sub(
            lambda match, sign=sign, table=table: sign + _braced("".join(map(table.get, match.group()))), text
        )
    return text


def _braced(digits: str) -> str:
    return digits if len(digits) == 1 else f"{{{digits}}}"


_PRINTED_ARRAY = re.compile(r"\s*(?:array\(|matrix\()?\s*(\[[-+\d.eE\s\[\]]+\])\s*\)?\s*")
_GAP = re.compile(r"(?<=[\d.\]])\s+(?=[-+]?[\d.\[])")
_POLY = re.compile(r"\s*Poly\((.+?)(?:,\s*[A-Za-z]\w*)+(?:,\s*domain=[^()]*(?:\([^()]*\))?)?\)\s*")
_SETS = re.compile(r"\s*(?:S\.)?(EmptySet|Reals)(?:\(\))?\s*")
_ALL_REALS = re.compile(
    r"\s*(?:[A-Za-z]\s*(?:is|can be|∈|\\in)\s*)?(?:the\s+set\s+of\s+)?(?:all|any|every)\s+(?:the\s+)?real"
    r"(?:\s+numbers?|s)?(?:\s+[a-z])?"
    r"(?:\s+(?:except|other than|but)\s+(?:for\s+)?(?P<less>(?:[^A-Za-z]|and|or){1,60}?)\s*)?"
    r"\.?\s*",
    re.I,
)
_BUILDER = re.compile(
    r"\\?\{(?:\s|\\[,;: ])*([A-Za-z])\s*((?:∈|\\in(?![A-Za-z]))\s*(?:\\mathbb\s*\{?\s*R\s*\}?|ℝ|R)\s*)?"
    r"(?:\||:|\\(?:mid|vert|colon)(?![A-Za-z]))\s*(.*?(?:[<>≤≥≠=∈|]|\\(?:[lgn]e|[lg]t|in)).*?)\\?\}"
)
_LESS_POINTS = re.compile(r"\s*(?:Reals|\\mathbb\s*\{?\s*R\s*\}?)\s*\\\s*\\?\{([^{}\\]*)\\?\}\s*")
# ]a, b[ is (a, b) in France and Germany
_OUTWARD = re.compile(r"(?:\\left\s*)?([\[\]])([^\[\]]+[,;][^\[\]]+?)(?:\\right\s*)?([\[\]])")
_OF_REALS = re.compile(
    r"\s*([A-Za-z])\s*(?:∈|\\in(?![A-Za-z]))\s*(?:\\mathbb\s*\{?\s*R\s*\}?|ℝ)\s*(?:,|\\mid|\|)\s*"
    r"(?=.*[<>≠]|.*\\n?[lg]?e)"
)
_LOGIC = re.compile(r"[<>].*\)\s*[&|]\s*\(|^\s*(?:And|Or)\(.*[<>]", re.S)
_RELATION = re.compile(r"\s*([^<>=]+?)\s*(<=|>=|<|>)\s*([^<>=]+?)\s*")
_LEVELS = 6


def in_our_notation(text: str) -> str:
    """Return NumPy's arrays, SymPy's sets and joined relations as mathematicians write them."""
    if (match := _PRINTED_ARRAY.fullmatch(text)) and _GAP.search(match[1]):
        return f"array({_GAP.sub(', ', match[1].strip())})"
    if match := _SETS.fullmatch(text):
        return r"\{\}" if match[1] == "EmptySet" else "(-oo, oo)"
    if "real" in text and (match := _ALL_REALS.fullmatch(without_text_commands(text))):
        less = re.sub(r"\s*\b(?:and|or)\b", ",", match["less"] or "")
        return f"Reals ∖ \\{{{less}\\}}" if less else "(-oo, oo)"
    if "{" in text and (match := _BUILDER.fullmatch(re.sub(r"\\(?:left|right)(?![A-Za-z])", "", text).strip())):
        return match[3].strip()
    if match := _LESS_POINTS.fullmatch(text):
        return f"Reals ∖ \\{{{match[1]}\\}}"
    if ("[" in text or "]" in text) and (turned := _OUTWARD.sub(_turned, text)) != text:
        return turned
    if "∧" in text or "∨" in text:
        sign, call = ("∨", "Or") if "∨" in text else ("∧", "And")
        return relations(f"{call}({', '.join(text.split(sign))})".replace("∧", "&")) or text
    if match := _OF_REALS.match(text):
        return text[match.end() :]
    if match := _POLY.fullmatch(text):
        return match[1]
    if "\\" not in text and _LOGIC.search(text):
        return relations(text) or text
    return text


def _turned(match: re.Match) -> str:
    opening, ends, closing = match.groups()
    if (opening, closing) == ("[", "]"):
        return match.group()
    return f"{'(' if opening == ']' else '['}{ends.replace(';', ',')}{')' if closing == '[' else ']'}"


def relations(text: str) -> str | None:
    """Return ``((-oo < x) & (x < -1)) | (x > 1)`` as ``x < -1 or x > 1``; None for anything else."""
    ranges = []
    for part in _joined_parts(text, "|", "Or"):
        bounds = [_RELATION.fullmatch(bound) for bound in _joined_parts(part, "&", "And")]
        if None in bounds:
            return None
        rising = [
            (match[3], match[2].replace(">", "<"), match[1]) if match[2][0] == ">" else match.groups()
            for match in bounds
        ]
        finite = [bound for bound in rising if bound[0] != "-oo" and bound[2] != "oo"] or rising[:1]
        if len(finite) == 2 and finite[1][2] == finite[0][0]:
            finite.reverse()  # (x < 3) & (-2 < x)
        if len(finite) == 2 and finite[0][2] == finite[1][0]:
            ranges.append(" ".join((*finite[0], *finite[1][1:])))
        elif len(finite) == 1:
            ranges.append(" ".join(finite[0]))
        else:
            return None
    return " or ".join(ranges)


def _joined_parts(text: str, sign: str, call: str, level: int = 0) -> list[str]:
    """Return what a sign joins outside all brackets, or a call's arguments, without brackets around them."""
    text = text.strip()
    if level > _LEVELS:
        return [text]
    parts = _split_outside_brackets(text, sign)
    if len(parts) == 1 and text.startswith(f"{call}(") and _closing_bracket(text, len(call)) == len(text) - 1:
        parts = _split_outside_brackets(text[len(call) + 1 : -1], ",")
    elif len(parts) == 1:
        if not text.startswith("(") or _closing_bracket(text, 0) != len(text) - 1:
            return [text]
        parts = [text[1:-1]]
    return [piece for part in parts for piece in _joined_parts(part, sign, call, level + 1)]


def _split_outside_brackets(text: str, sign: str) -> list[str]:
    parts, depth, start = [], 0, 0
    for at, character in enumerate(text):
        depth += (character in "([") - (character in ")]")
        if character == sign and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [*parts, text[start:]]


def _closing_bracket(text: str, opening: int) -> int:
    """Return where the bracket that opens at a position closes; -1 where it never does."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] == "(") - (text[at] == ")")
        if not depth:
            return at
    return -1
