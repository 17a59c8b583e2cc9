"""From LaTeX, prose and Python output to one plain notation that `expressions` parses."""

from __future__ import annotations

import re
from fractions import Fraction

# Nothing longer is parsed: the longest gold of MATH has 159 characters, of TheoremQA 102.
MAX_TEXT = 1200
MAX_QUANTITY = 200  # a number with its unit; the pattern's work grows with the square of the length
ROW_BREAK = "¶"

_SPACES = re.compile(r"\\[,;: ]|\\quad|\\qquad|~|\s+")
_DROPPED = re.compile(
    r"\\(?:left|right|bigl?|bigr|Bigl?|Bigr|displaystyle|limits|mathstrut|hfill|nonumber)(?![A-Za-z])"
    r"|\\!|\\\(|\\\)|\\\[|\\\]|\\\$|\$|€|£|\*\*(?=\s*$)|^\s*\*\*"
)
_TEXTS = re.compile(
    r"\\(?:text|textbf|textit|textrm|mbox|mathrm|mathbf|mathit|mathsf|operatorname|emph|boldsymbol)\b\*?"
)
_REPLACED = [
    (re.compile(pattern), by)
    for pattern, by in (
        (r"\\[dtc]frac(?![A-Za-z])", r"\\frac"),
        (r"(?<=\d)\{,\}(?=\d{3})", ""),
        (r"(?<=\d),\s*\\!\s*(?=\d{3})", ""),
        (r"\\(?:cdot|times|ast)(?![A-Za-z])|[·×⋅∙]", "*"),
        (r"\\div(?![A-Za-z])|÷", "/"),
        (r"[−–—‐‑]", "-"),
        (r"\\pm(?![A-Za-z])|\+/-|\+-", "±"),
        (r"\\mp(?![A-Za-z])", "∓"),
        (r"\\(?:leq?|leqslant)(?![A-Za-z])|≤|⩽", "<="),
        (r"\\(?:geq?|geqslant)(?![A-Za-z])|≥|⩾", ">="),
        (r"\\lt(?![A-Za-z])", "<"),
        (r"\\gt(?![A-Za-z])", ">"),
        (r"\\(?:neq?)(?![A-Za-z])|≠", "!="),
        (r"\\(?:approx|simeq|thickapprox)(?![A-Za-z])|≈|==", "="),
        (r"\\(?:cup)(?![A-Za-z])|∪", "∪"),
        (r"\\(?:in)(?![A-Za-z])|∈", "∈"),
        (r"\\(?:infty)(?![A-Za-z])|∞|\binfinity\b", " oo "),
        (r"\\pi(?![A-Za-z])|π", " pi "),
        (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
        (r"\\(?:lbrace|rbrace|lbrack|rbrack)(?![A-Za-z])", ""),
        (r"\\%|％", "%"),
        (r"\^\s*\{?\s*\\circ\s*\}?|\\degree(?![A-Za-z])|°", " degrees "),
        (r"\\(?:emptyset|varnothing)(?![A-Za-z])|∅", r"\\{\\}"),
        (r"\*\*", "^"),
        (r"(?<=\d)(?:st|nd|rd|th)\b", ""),
        (r"√\s*(\d+(?:\.\d+)?|[A-Za-z])", r"sqrt(\1)"),
        (r"√", "sqrt"),
        (r"²", "^2"),
        (r"³", "^3"),
        (r"½", " 1/2"),
        (r"¼", " 1/4"),
        (r"¾", " 3/4"),
        (r"\b(?:np|numpy|math|sympy|sp|mpmath)\.(?=[A-Za-z])", ""),
        (r"\b(?:float|int)(?:16|32|64)?\s*\((-?[0-9.e+-]+)\)", r"\1"),
        (r"\b(?:Decimal|mpf)\s*\(\s*['\"]([^'\"()]*)['\"]\s*\)", r"\1"),
    )
]
_APPROXIMATE = re.compile(r"^(?:approximately|approx\.?|about|around|roughly|exactly|equal to|just|only|=|:)\s*", re.I)
_THOUSANDS = re.compile(r"(?<![\d.,])(\d{1,3}(?:,\d{3})+)(?![\d,]*\d)")


def unwrapped(text: str, command_end: int) -> tuple[int, int] | None:
    """Start and end of the balanced braces' content that follow a position; None if no brace follows or closes."""
    start = command_end
    while start < len(text) and text[start] == " ":
        start += 1
    if start >= len(text) or text[start] != "{":
        return None
    depth = 0
    for at in range(start, len(text)):
        if text[at] == "{" and text[at - 1] != "\\":
            depth += 1
        elif text[at] == "}" and text[at - 1] != "\\":
            depth -= 1
            if depth == 0:
                return start + 1, at
    return None


def without_text_commands(text: str) -> str:
    """The text with ``\\text{...}`` and its kin replaced by what they hold, set off by spaces."""
    parts, at = [], 0
    for found in _TEXTS.finditer(text):
        if found.start() < at:
            continue
        inside = unwrapped(text, found.end())
        if inside is None:
            continue
        parts.append(text[at : found.start()] + " " + text[inside[0] : inside[1]] + " ")
        at = inside[1] + 1
    return "".join(parts) + text[at:]


def plain(text: str) -> str:
    """An answer or gold in plain notation: no delimiters, spacing commands, dollar signs or trailing dots.

    What is longer than ``MAX_TEXT`` comes back cut of its spaces only, for comparison as text.
    """
    text = text.strip()
    if len(text) > MAX_TEXT:
        return " ".join(text.split())
    for _ in range(3):  # \text{\textbf{...}} nests, never deeply
        if "\\" not in text or not _TEXTS.search(text):
            break
        text = without_text_commands(text)
    text = re.sub(r",\s*\\!\s*(?=\d{3})", "", text)
    text = re.sub(r"\\begin\{array\}\{[^{}]*\}", r"\\begin{array}", text)
    # A matrix's row break is protected from what follows: "\\\\ 3" would lose a backslash as the command "\\ ".
    text = text.replace("\\\\", ROW_BREAK)
    for pattern, by in _REPLACED[:3]:
        text = pattern.sub(by, text)
    text = _DROPPED.sub("", text)
    for pattern, by in _REPLACED[3:]:
        text = pattern.sub(by, text)
    text = _SPACES.sub(" ", text).strip()
    text = text.rstrip(" .,;:!?`*" if not re.search(r"[\w)]!$", text) else " .,;:?`").lstrip(" `:")
    for _ in range(2):
        text = _APPROXIMATE.sub("", text)
    return text.strip()


def joined_thousands(text: str) -> str:
    """The text without thousands separators; ``1,300`` is a number, ``1, 300`` and ``(1,300)`` are lists."""
    if "," not in text or re.match(r"\s*(?:\\?\{|[(\[])", text):
        return text
    return _THOUSANDS.sub(lambda found: found.group(1).replace(",", ""), text)


def _units() -> dict[str, tuple[str, Fraction]]:
    table: dict[str, tuple[str, Fraction]] = {}
    for dimension, scale, names in (
        ("length", "1", "m meter meters metre metres"),
        ("length", "1/100", "cm cms centimeter centimeters centimetre centimetres"),
        ("length", "1/1000", "mm millimeter millimeters millimetre millimetres"),
        ("length", "1000", "km kms kilometer kilometers kilometre kilometres"),
        ("length", "0.0254", "inch inches"),
        ("length", "0.3048", "ft foot feet"),
        ("length", "0.9144", "yd yard yards"),
        ("length", "1609.344", "mi mile miles"),
        ("mass", "1", "g gm gms gram grams"),
        ("mass", "1000", "kg kgs kilogram kilograms"),
        ("mass", "1/1000", "mg milligram milligrams"),
        ("mass", "453.59237", "lb lbs pound pounds"),
        ("mass", "28.349523125", "oz ounce ounces"),
        ("time", "1", "s sec secs second seconds"),
        ("time", "60", "min mins minute minutes"),
        ("time", "3600", "h hr hrs hour hours"),
        ("time", "86400", "day days"),
        ("time", "604800", "week weeks"),
        ("month", "1", "month months"),
        ("month", "12", "year years yr yrs"),
        ("volume", "1", "l liter liters litre litres"),
        ("volume", "1/1000", "ml milliliter milliliters"),
        ("volume", "3.785411784", "gallon gallons"),
        ("money", "1", "dollar dollars usd bucks"),
        ("money", "1/100", "cent cents"),
        ("euro", "1", "euro euros eur"),
        ("rupee", "1", "rupee rupees rs"),
        ("angle", "1", "degree degrees deg"),
        ("radian", "1", "radian radians rad"),
        ("speed", "1", "mph"),
        ("speed of km", "1", "kmph kph"),
        ("temperature C", "1", "celsius"),
        ("temperature F", "1", "fahrenheit"),
        ("energy", "1", "j joule joules"),
        ("power", "1", "w watt watts"),
        ("force", "1", "n newton newtons"),
    ):
        for name in names.split():
            table[name] = (dimension, Fraction(scale))
    return table


# A unit's dimension and its size in that dimension's own unit. Single letters count as units only after a number and
# a space, as in "5 m": `5m` is a product.
UNITS = _units()
DOLLAR = ("money^1", Fraction(1))
SCALE_WORDS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_QUANTITY = re.compile(
    r"(?P<number>[-+]?\s*(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+|\s+\d+\s*/\s*\d+)?|.*?[\d})\]]|.*?\bpi)"
    r"(?P<gap>\s*)(?P<words>[A-Za-z][A-Za-z.' -]*?(?:\s*/\s*[A-Za-z]+)?)(?P<power>\s*\^\s*\{?\s*\d\s*\}?)?\s*"
)


def without_unit(text: str) -> tuple[str, tuple[str, Fraction] | None]:
    """A quantity's number and its unit; the unit is None where the words after the number are no listed unit.

    Words after a number are what is counted (``81 teachers``) and fall away. A known unit is kept so that ``5 km`` is
    not ``5 m``; a power (``cm^2``, ``square feet``, ``cubic``) makes a dimension of its own. A product's letters
    (``3x``, ``2 a``) are no words.
    """
    found = _QUANTITY.fullmatch(text) if len(text) <= MAX_QUANTITY else None
    if not found or not re.search(r"\d|pi", found["number"]) or _PROSE.search(found["number"]):
        return text, None
    words = found["words"].lower().replace(".", "").strip()
    first = re.split(r"[ /-]+", words)
    if first[0] in SCALE_WORDS:
        scaled = f"{found['number'].strip()}*{SCALE_WORDS[first[0]]}"
        rest = " ".join(first[1:])
        return (scaled, UNITS.get(rest)) if rest else (scaled, None)
    if "/" in words or "per" in first:
        if re.search(r"[a-z]{2}", words) or all(part in UNITS for part in words.split("/")):
            parts = [part for part in first if part != "per"]
            names = "/".join(UNITS[part][0] + str(UNITS[part][1]) for part in parts if part in UNITS)
            return found["number"].strip(), (names, Fraction(1)) if names and len(parts) > 1 else None
        return text, None
    power = 1
    if first[0] in ("square", "sq", "cubic") and len(first) > 1:
        power, first = (3 if first[0] == "cubic" else 2), first[1:]
    elif first[-1] in ("squared", "cubed") and len(first) > 1:
        power, first = (3 if first[-1] == "cubed" else 2), first[:-1]
    elif found["power"]:
        power = int(re.sub(r"\D", "", found["power"]))
        if first[0] not in UNITS:
            return text, None
    name = first[0]
    if name in UNITS and (len(name) > 1 or found["gap"]):
        if len(name) == 1 and not re.fullmatch(r"[-+]?[\d.,]+", found["number"].strip()):
            return text, None
        dimension, scale = UNITS[name]
        return found["number"].strip(), (f"{dimension}^{power}", scale**power)
    if found["power"] or re.fullmatch(r"[A-Za-z]{1,3}", words) or re.search(_NO_WORDS, words):
        return text, None
    return found["number"].strip(), None


_PROSE = re.compile(
    r"(?<![\\A-Za-z])(?!sqrt|sin|cos|tan|log|exp|Fraction|Rational|abs|begin|Matrix)[A-Za-z]{3,}"
    r"|(?<!\\)\b(?:is|in|to|of)\b"
)
# Words that are mathematics or structure and never something counted.
_NO_WORDS = re.compile(
    r"\b(?:and|or|if|for|sqrt|sin|cos|tan|log|ln|exp|pi|oo|cot|sec|csc|arcsin|arccos|arctan|asin|acos|atan|pmatrix"
    r"|bmatrix|matrix|factorial|binomial|abs|noon|am|pm|base|remainder|to|not|no)\b"
)
