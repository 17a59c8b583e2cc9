"""Quantities: a number and the unit behind it, with what each listed unit measures."""

from __future__ import annotations

import re
from fractions import Fraction

from mammoth_utils.grading._formulas.words import PARTS

MAX_QUANTITY = 200  # a number with its unit; the pattern's work grows with the square of the length


# A unit's dimension and its size in that dimension's own unit. Single letters count as units only after a number and
# a space, as in "5 m": `5m` is a product.
UNITS = {
    name: (dimension, Fraction(scale))
    for dimension, scale, names in (
        ("length^1/time", "0.44704", "mph"),
        ("length^1/time", "5/18", "kmph kph"),
        ("length", "1", "m meter meters metre metres"),
        ("length", "1/100", "cm cms centimeter centimeters centimetre centimetres"),
        ("length", "1/1000", "mm millimeter millimeters millimetre millimetres"),
        ("length", "1000", "km kms kilometer kilometers kilometre kilometres"),
        ("length", "0.0254", "in inch inches"),
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
        ("sterling", "1", "sterling quid gbp"),
        ("yen", "1", "yen jpy"),
        ("dozen", "12", "dozen dozens"),
        ("rupee", "1", "rupee rupees rs"),
        ("angle", "1", "degree degrees deg"),
        ("radian", "1", "radian radians rad"),
        ("temperature C", "1", "celsius"),
        ("temperature F", "1", "fahrenheit"),
        ("energy", "1", "j joule joules"),
        ("power", "1", "w watt watts"),
        ("force", "1", "n newton newtons"),
        ("resistance", "1", "ohm ohms"),
    )
    for name in names.split()
}
_CAPITALS = frozenset("njw")  # newtons, joules and watts are written large; a small letter is an unknown
DOLLAR = ("money^1", Fraction(1))
DOZEN = ("dozen^1", Fraction(12))
_STERLING = ("sterling^1", Fraction(1))
_POUND = ("mass^1", UNITS["pound"][1])
_SIGNS = {"£": _STERLING, "\\pounds": _STERLING, "€": ("euro^1", Fraction(1)), "¥": ("yen^1", Fraction(1))}
_SIGN = re.compile(r"[£€¥]|\\pounds(?![A-Za-z])")
SCALE_WORDS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "score": 20,
               "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7}  # fmt: skip
_TEMPERATURES = {"c": "C", "celsius": "C", "f": "F", "fahrenheit": "F"}
_QUANTITY = re.compile(
    r"(?P<number>[-+]?\s*(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:\s*/\s*\d+|\s+\d+\s*/\s*\d+)?|.*?\bpi|.*?[\d})\]])"
    r"(?P<gap>\s*)(?P<words>(?!pi\b)[A-Za-z][A-Za-z.' -]*?(?:\s*/\s*[A-Za-z]+)?)(?P<power>\s*\^\s*\{?\s*\d\s*\}?)?\s*"
)
_PREFIXED = re.compile(r"(?:(?P<rupee>Rs\b\.?|INR\b|₹)|(?P<money>USD?))\s*(?=[-+]?[\d.])", re.I)
# What is counted, in words so short that they could be products of letters.
_SHORT_WORDS = (
    "men man boy kid cow hen pig dog cat ant bee car bus van bag box cup jar pot pan tin tub toy hat cap tie pen egg "
    "pie nut bun bar pea row set way job win lot ton net mat rug map gem fan key"
)
_SHORT = frozenset(_SHORT_WORDS.split())


def currency(text: str) -> tuple[str, Fraction] | None:
    """Return the currency whose sign a text has; ``\\$`` and a single ``$`` count, LaTeX's delimiters do not."""
    if match := _SIGN.search(text):
        return _SIGNS[match.group()]
    return DOLLAR if "\\$" in text or text.count("$") == 1 else None


def settled(unit: tuple[str, Fraction] | None, other: tuple[str, Fraction] | None) -> tuple[str, Fraction] | None:
    """Return what a unit means beside another: pounds beside ``£`` are money, degrees beside a scale are of it."""
    if unit == _POUND and other == _STERLING:
        return other
    if unit and other and unit[0] == "angle^1" and other[0].startswith("temperature"):
        return other
    return unit


def without_unit(text: str) -> tuple[str, tuple[str, Fraction] | None]:
    """Return a quantity's number and its unit; None where the words after the number are no listed unit.

    Words after a number are what is counted (``81 teachers``) and fall away. A known unit is kept so that ``5 km`` is
    not ``5 m``; a power (``cm^2``, ``square feet``, ``cubic``) makes a dimension of its own. A product's letters
    (``3x``, ``2 a``) are no words.
    """
    if prefixed := _PREFIXED.match(text):  # "Rs. 800" is 800 rupees
        number, unit = without_unit(text[prefixed.end() :])
        return number, unit or ((f"{'rupee' if prefixed['rupee'] else 'money'}^1", Fraction(1)))
    if len(text) > MAX_QUANTITY:
        return text, None
    if compound := _compound(text):
        return compound
    if (per := _PER.fullmatch(text)) and per[2].lower() in UNITS:  # 18/day
        return per[1], None
    match = _QUANTITY.fullmatch(text)
    if not match or not re.search(r"\d|pi", match["number"]) or _PROSE.search(match["number"]):
        return text, None
    number = match["number"].strip()
    words = match["words"].lower().replace(".", "").strip()
    first = re.split(r"[ /-]+", words)
    if first[0] in SCALE_WORDS:
        scaled = f"{number}*{SCALE_WORDS[first[0]]}"
        return scaled, UNITS.get(" ".join(first[1:]))
    if first[0] in PARTS and re.fullmatch(r"[-+]?\d+", number):  # 3 fifths
        return f"{number}/{PARTS[first[0]]}", None
    if first in (["squared"], ["cubed"]):
        return f"({number})^{2 if first == ['squared'] else 3}", None
    if "/" in words or "per" in first:
        if re.search(r"[a-z]{2}", words) or all(part in UNITS for part in words.split("/")):
            return number, _rate([part for part in first if part not in ("per", "a", "an")])
        return text, None
    power = 1
    if first[0] in ("square", "sq", "cubic") and len(first) > 1:
        power, first = (3 if first[0] == "cubic" else 2), first[1:]
    elif first[-1] in ("squared", "cubed") and len(first) > 1:
        power, first = (3 if first[-1] == "cubed" else 2), first[:-1]
    elif match["power"]:
        power = int(re.sub(r"\D", "", match["power"]))
        if first[0] not in UNITS and first[0] not in ("unit", "units"):
            return text, None
    name = first[0]
    if name in ("degree", "degrees") and len(first) == 2 and first[1] in _TEMPERATURES:
        return number, (f"temperature {_TEMPERATURES[first[1]]}^1", Fraction(1))
    if first[0] in ("degree", "degrees") and re.search(r"sin|cos|tan|cot|sec|csc", match["number"]):
        return text, None  # the angle is measured in degrees, not the function's value
    if name in ("unit", "units"):
        return number, None
    if name in UNITS and (len(name) > 1 or match["gap"]) and (name != "in" or len(first) == 1):  # "5 in total"
        if len(name) == 1 and not re.fullmatch(r"[-+]?[\d.,]+", number):
            return text, None
        if name in _CAPITALS and match["words"].strip().islower():
            return text, None
        dimension, scale = UNITS[name]
        return number, (f"{dimension}^{power}", scale**power)
    if words in _SHORT and match["gap"] and not match["power"]:
        return number, None
    if match["power"] or re.fullmatch(r"[A-Za-z]{1,3}", words) or re.search(NO_WORDS, words):
        return text, None
    return number, None


_PER = re.compile(r"([-+]?\d+(?:\.\d+)?)\s*/\s*([A-Za-z]{3,})")
_COMPOUND = re.compile(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)\.?,?\s+(?:and\s+)?(\d+(?:\.\d+)?)\s*([A-Za-z]+)")


def _compound(text: str) -> tuple[str, tuple[str, Fraction]] | None:
    """Return ``3 dollars and 50 cents`` or ``5 ft 6 in`` in the first of its units; None for what is no such sum."""
    match = _COMPOUND.fullmatch(text)
    if not match:
        return None
    first, second = UNITS.get(match[2].lower()), UNITS.get(match[4].lower())
    if first is None or second is None or first[0] != second[0] or first[1] <= second[1]:
        return None
    return f"{match[1]} + {match[3]}*({second[1] / first[1]})", (f"{first[0]}^1", first[1])


def _rate(parts: list[str]) -> tuple[str, Fraction] | None:
    """Return the dimension and size of a quotient of two units; None where one of them is not listed."""
    if len(parts) != 2 or any(part not in UNITS for part in parts):
        return None
    (above, scale), (below, divisor) = (UNITS[part] for part in parts)
    return f"{above}^1/{below}^1", scale / divisor


_PROSE = re.compile(
    r"(?<![\\A-Za-z])(?!sqrt|sin|cos|tan|log|exp|Fraction|Rational|abs|begin|Matrix)[A-Za-z]{3,}"
    r"|(?<!\\)\b(?:is|in|to|of)\b"
)
# Words that are mathematics or structure and never something counted.
NO_WORDS = re.compile(
    r"\b(?:and|or|if|for|sqrt|sin|cos|tan|log|ln|exp|pi|oo|cot|sec|csc|arcsin|arccos|arctan|asin|acos|atan|pmatrix"
    r"|bmatrix|matrix|factorial|binomial|abs|noon|am|pm|base|remainder|to|not|no)\b"
    r"|\bthan\s+(?:[a-z]|twice|half|double|(?:the|a)\s+(?:number|product|sum|square|quantity))\b"  # 5 less than x
)
