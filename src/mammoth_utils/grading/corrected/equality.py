"""Equality under the corrected rule: what a careful mathematician would accept as the same answer."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from mammoth_utils.grading._formulas import answer_forms as forms
from mammoth_utils.grading._formulas import matrices, notation, ranges, units
from mammoth_utils.grading._formulas.answer_forms import CONTAINERS
from mammoth_utils.grading._formulas.compare_values import equal_values
from mammoth_utils.grading._formulas.formula_values import Undefined, symbols
from mammoth_utils.grading._formulas.parser import Node, Unreadable, parse
from mammoth_utils.grading._formulas.words import DATE, block, leading_number, same_block, stamp, wordy

MAX_ITEMS_UNORDERED = 24
LONGEST_NAME = 3  # of an unknown; "area" and "P(X = 1)" are labels
_SPACED = re.compile(r"\d{1,3}(?: \d{3})+")
_TWELVE = Node("number", value=Fraction(12))
_MIXED = re.compile(r"(-?\d+)\s+and\s+(\d+\s*/\s*\d+)")
_COUNTED = re.compile(r"%|(?:\s+[A-Za-z]+){0,2}")


# Grouped as in India, in Switzerland and on the continent; a comma before one or two digits is a decimal comma.
_GROUPED = re.compile(
    r"(?<![\d.,])(?:\d{1,2}(?:,\d{2})+,\d{3}|\d{1,3}(?:['’]\d{3})+|\d{1,3}(?:\.\d{3}){2,})(?![\d,.]*\d)"
)
_DECIMAL_COMMA = re.compile(r"([^\d]{0,6}?-?)(\d{1,3}(?:[. \u00a0\u202f]\d{3})+|\d+),(\d{1,2})(\D*)")
_MAGNITUDE = re.compile(r"([^\d]{0,4}-?[\d.,]*\d)\s?(k|K|[mM]|mn|bn|B)(?=\s|$)")
_MAGNITUDES = {"k": "thousand", "m": "million", "mn": "million", "bn": "billion", "b": "billion"}
_LABEL = re.compile(r"[^<>≠≈]*")
_NO_LABEL = re.compile(r"\b(?:not|no|never|cannot|if|unless|or|because|since|when)\b|\\n?[lg]?eq?(?![A-Za-z])|!=")


def equivalent(
    answer: str, gold: str, mathematics: bool = False, measured: bool = False, numeric: bool = False
) -> tuple[bool, str]:
    """Return whether an answer equals the gold, and a reason for a reader; no text raises.

    Args:
        answer: What was read from a completion.
        gold: The reference.
        mathematics: Whether bracketed lists are unordered and a dict of numbers is the set of its keys, as the
            prime factors of DeepMind's Mathematics are (SymPy writes ``{3: 4}`` for 81).
        measured: Whether golds are a program's output, as TheoremQA's are: two numbers in square brackets are a list,
            never an interval, and a decimal such as 0.9 was rounded at its only digit.
        numeric: Whether golds are plain numbers, so that 10,00,000 and 2,74 are numbers and 10k is 10,000.
    """
    if max(len(answer), len(gold)) > notation.MAX_TEXT * 10:
        return answer.strip() == gold.strip(), "compared as text, since one side is too long for a formula"
    ours, theirs = _tidy(_in_one_grouping(answer) if numeric else answer), _tidy(gold)
    (ours, our_modulus), (theirs, their_modulus) = notation.modulus(ours), notation.modulus(theirs)
    if our_modulus and their_modulus and our_modulus != their_modulus:
        return False, f"the moduli differ: {_short(answer)} against {_short(gold)}"
    if not ours:
        return False, "the answer is empty"
    if _SPACED.fullmatch(ours) and theirs.isdigit():
        ours = ours.replace(" ", "")  # 9 500 for 9500, where the gold is one number
    elif _SPACED.fullmatch(theirs) and ours.isdigit():
        theirs = theirs.replace(" ", "")
    signs = (units.currency(answer), units.currency(gold))
    if None not in signs and signs[0] != signs[1]:
        return False, f"the currencies differ: {_short(answer)} against {_short(gold)}"
    if any(
        "%" in text and (signs[not at] or "degrees" in (ours, theirs)[not at]) for at, text in enumerate((ours, theirs))
    ):
        return False, f"per cent against another unit: {_short(answer)} against {_short(gold)}"
    if _joined(ours) == _joined(theirs):
        return True, f"the same as the gold {_short(gold)}"
    if len(ours) > notation.MAX_TEXT or len(theirs) > notation.MAX_TEXT:
        return _as_text(ours, theirs), "compared as text, since one side is too long for a formula"
    stamps = [stamp(text) for text in (ours, theirs)]
    if None not in stamps or any(parts is not None and parts[0] == DATE and len(parts) > 3 for parts in stamps):
        return stamps[0] == stamps[1], f"{_short(answer)} and {_short(gold)} are read as times or dates"
    words = wordy(theirs)
    if words is not None:
        same = wordy(ours) == words
        return same, f"the {'same' if same else 'wrong'} word for {_short(gold)}"
    if (letters := block(gold)) is not None:
        same = same_block(ours, letters)
        return same, f"{'the' if same else 'not the'} letters of {_short(gold)} in their order"
    if ours.lower() in ("true", "false", "yes", "no"):
        return False, f"{_short(answer)} is no value for {_short(gold)}"
    try:
        reference, gold_unit = _quantity(theirs)
    except Unreadable as error:
        return _as_text(ours, theirs), f"compared as text, since {_obstacle('gold', theirs, error)}"
    try:
        value, unit = _quantity(ours)
    except Unreadable as error:
        return _as_text(ours, theirs), f"compared as text, since {_obstacle('answer', ours, error)}"
    unit, gold_unit = unit or signs[0], gold_unit or signs[1]
    unit, gold_unit = units.settled(unit, gold_unit), units.settled(gold_unit, unit)
    comparison = Comparison(mathematics, measured)
    same = comparison.same(value, reference)
    if not same and units.DOZEN in (unit, gold_unit) and None in (unit, gold_unit):  # 5 dozen are 60, or 5 dozens
        ours_each = Node("mul", (value, _TWELVE)) if unit else value
        gold_each = Node("mul", (reference, _TWELVE)) if gold_unit else reference
        same = comparison.same(ours_each, gold_each)
    if gold_unit and unit and gold_unit != unit:
        if gold_unit[0] != unit[0]:
            return False, f"the units differ: {_short(answer)} against {_short(gold)}"
        value, reference = (
            forms.stated(node) or node if node.kind == "equation" else node for node in (value, reference)
        )
        scale = Node("number", value=unit[1] / gold_unit[1])
        same = comparison.same(Node("mul", (value, scale)), reference)
    if not same and (mixed := _MIXED.fullmatch(ours)):  # "2 and 1/2", which may be two values as well
        same = comparison.same(_quantity(f"{mixed[1]} {mixed[2]}")[0], reference)
    return same, f"{_short(answer)} {'equals' if same else 'differs from'} {_short(gold)}"


def says_nothing(text: str) -> bool:
    """Return whether a text holds no answer at all: empty mathematics, a lone dot."""
    return len(text) <= notation.MAX_TEXT and not _tidy(text)


def _short(text: str) -> str:
    text = " ".join(str(text).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _tidy(text: str) -> str:
    text = notation.joined_thousands(notation.plain(text))
    text = re.sub(r"\s*\b(?:percent(?:age)?|per cent|pct)\b", "%", text)
    if sign := _SIGN_IN_WORDS.match(text):
        text = f"-{leading_digits(text[sign.end() :])}"
    text = re.sub(r"^(\d+)\s+to\s+(\d+)$", r"\1:\2", text)
    digits_in_words, end = leading_number(text) or ("", 0)
    if digits_in_words and _COUNTED.fullmatch(text, end) and not units.NO_WORDS.search(text, end):
        text = digits_in_words + text[end:]  # "seven apples"
    return text


_SIGN_IN_WORDS = re.compile(r"(?:minus|negative)\s+(?=[\d\\$.(]|[a-z]{3,})", re.I)


def leading_digits(text: str) -> str:
    """Return a text with the number in words that it starts with in digits."""
    digits_in_words, end = leading_number(text) or ("", 0)
    return digits_in_words + text[end:]


def _joined(text: str) -> str:
    """Return the text without spaces, but for those between digits: ``12 3`` is not ``123``."""
    return re.sub(r"(?<!\d)\s+|\s+(?!\d)", "", text)


def _as_text(ours: str, theirs: str) -> bool:
    def bare(text: str) -> str:
        return re.sub(r"[{}]", "", _joined(text)).lower()

    return bare(ours) == bare(theirs)


@lru_cache(maxsize=4096)
def _quantity(text: str) -> tuple[Node, tuple[str, Fraction] | None]:
    begin = _after_last_equals(text)
    number, unit = units.without_unit(text[begin:])
    number = text[:begin] + number
    try:
        return forms.settled(parse(number)), unit
    except Unreadable as error:
        if number != text:
            with contextlib.suppress(Unreadable):
                return forms.settled(parse(text)), None
        named = _labelled(number)
        if named is None:
            raise
        label, value = named
        try:
            return Node("equation", (Node("symbol", name=label), forms.settled(parse(value))), "="), unit
        except Unreadable:
            raise error from None


def _labelled(text: str) -> tuple[str, str] | None:
    """Return what stands before and behind the last equals sign outside of brackets; None where it is no label."""
    at = _after_last_equals(text)
    label, value = text[: max(0, at - 1)].strip(), text[at:].strip()
    if not label or not value or not _LABEL.fullmatch(label) or _NO_LABEL.search(label):
        return None
    return label, value


def _after_last_equals(text: str) -> int:
    """Return where the last equals sign outside of brackets ends; 0 without one."""
    depth, at = 0, 0
    for place, character in enumerate(text) if "=" in text else ():
        depth += (character in "([{") - (character in ")]}")
        if character == "=" and not depth and text[place - 1 : place] not in ("<", ">", "!"):
            at = place + 1
    return at


def _obstacle(side: str, text: str, error: Unreadable) -> str:
    """Return what could not be read: one side of an equation where the other can be, else the whole."""
    for number, part in enumerate(text.split("=") if text.count("=") == 1 else ()):
        try:
            parse(part)
        except Unreadable as inner:
            return f"the {('left', 'right')[number]} side {_short(part)} of the {side} could not be read ({inner})"
    return f"the {side} is no formula ({error})"


def _in_one_grouping(text: str) -> str:
    """Return a number without its country's separators, and ``$10k`` in words."""
    if len(text) > 80 or not any(character.isdigit() for character in text):
        return text
    text = text.replace("R$", "$")  # of Brazil
    text = _GROUPED.sub(lambda match: re.sub(r"\D", "", match.group()), text)
    if match := _DECIMAL_COMMA.fullmatch(text.strip()):
        text = f"{match[1]}{re.sub(r'[^0-9]', '', match[2])}.{match[3]}{match[4]}"
    return _MAGNITUDE.sub(lambda match: f"{match[1]} {_MAGNITUDES[match[2].lower()]}", text, count=1)


def forget_parsed_formulas() -> None:
    """Empty the cache of parsed texts, so that a measurement starts cold."""
    _quantity.cache_clear()
    notation.plain.cache_clear()


def _assigned(nodes: tuple[Node, ...], theirs: tuple[Node, ...]) -> list[Node]:
    """Return the values of ``x = 3`` or of a dict's ``x: 3``; where the gold has equations, the nodes as they are."""
    if any(node.kind == "equation" for node in theirs):
        return list(nodes)
    return [node.parts[1] if node.kind in ("equation", "ratio") and len(node.parts) == 2 else node for node in nodes]


@dataclass(frozen=True)
class Comparison:
    """One comparison of two trees, with the settings of `equivalent`."""

    mathematics: bool
    measured: bool

    def same(self, ours: Node, theirs: Node) -> bool:
        """Return whether an answer's tree means what the gold's tree means."""
        ours, theirs = self.simple(ours), self.simple(theirs)
        if theirs.kind == "equation" or ours.kind == "equation":
            return self.same_equation(ours, theirs)
        if theirs.kind == "relation" or ours.kind == "relation":
            return self.same_relation(ours, theirs)
        if matrices.holds_matrix(ours) or matrices.holds_matrix(theirs):
            return self.same_matrix(ours, theirs)
        if theirs.kind in CONTAINERS or ours.kind in CONTAINERS:
            return self.same_container(ours, theirs)
        if theirs.kind == "percent" and ours.kind != "percent":
            return self.same_value(ours, theirs.parts[0]) or self.same_value(ours, theirs)
        if ours.kind == "percent" and theirs.kind != "percent":
            # 50 % is 0.5 and 150 % is 1.5, but where the gold is 12, "1200 %" is a slip
            share = forms.may_be_share(theirs) and self.same_value(ours, theirs)
            return self.same_value(ours.parts[0], theirs) or share
        if "base" in (ours.kind, theirs.kind):
            return forms.digits(ours) == forms.digits(theirs) and (ours.kind != theirs.kind or ours.name == theirs.name)
        if ours.kind == theirs.kind == "ratio" and len(ours.parts) == len(theirs.parts) > 2:  # 2:4:6 is 1:2:3
            pairs = zip(ours.parts, theirs.parts, strict=True)
            first, other = ours.parts[0], theirs.parts[0]
            return all(self.same_value(Node("mul", (a, other)), Node("mul", (b, first))) for a, b in pairs)
        return self.same_value(ours, theirs)

    def simple(self, node: Node) -> Node:
        """Return the tree with plus-minus written out, and without brackets around one item or a degree sign."""
        node = forms.without_degrees(node)
        if node.kind == "neg" and node.parts[0].kind == "base":
            node = Node("base", node.parts, f"-{node.parts[0].name}")
        if node.name == "cases" and all(len(row.parts) == 1 and row.parts[0].kind == "equation" for row in node.parts):
            node = Node("bare", tuple(row.parts[0] for row in node.parts))  # x = 3 and y = 4, a line each
        if node.kind == "equation" and [side.kind for side in node.parts] == ["tuple", "tuple"]:
            names, values = (side.parts for side in node.parts)  # (x, y) = (2, 3)
            if len(names) == len(values) and all(name.kind == "symbol" for name in names):
                pairs = zip(names, values, strict=True)
                return Node("bare", tuple(Node("equation", pair, "=") for pair in pairs))
        if node.kind == "dict":
            keys_are_numbers = all(not symbols(part.parts[0]) for part in node.parts)
            if keys_are_numbers and self.mathematics:
                node = Node("set", tuple(part.parts[0] for part in node.parts))
            elif not keys_are_numbers:
                node = Node("bare", tuple(Node("equation", part.parts, "=") for part in node.parts))
        if node.kind in ("bare", "set", "list"):
            parts = []
            for part in node.parts:
                upper, lower = forms.with_sign(part, "±"), forms.with_sign(part, "∓")
                parts += [part] if upper == lower else [upper, lower]
            empty = len(parts) == 1 and parts[0] == Node("set")  # a set that holds the empty set is not empty
            if len(parts) == 1 and not empty and (parts[0].kind not in ("list", "tuple") or len(parts[0].parts) == 1):
                return self.simple(parts[0])
            return Node(node.kind, tuple(parts), node.name)
        upper, lower = forms.with_sign(node, "±"), forms.with_sign(node, "∓")
        if upper != lower:
            return Node("bare", (upper, lower))
        return node

    def same_value(self, ours: Node, theirs: Node) -> bool:
        """Return whether two values without containers are equal."""
        if ours == theirs:
            return True
        infinite = [forms.infinity(ours), forms.infinity(theirs)]
        if any(infinite):
            return infinite[0] == infinite[1]
        try:
            return equal_values(ours, theirs, 1 if self.measured else 2)
        except Undefined:
            return False

    def same_equation(self, ours: Node, theirs: Node) -> bool:
        """Compare equations: ``x = 3`` is 3; two general ones are the same where one is a multiple of the other."""
        if theirs.kind != "equation":
            value = forms.stated(ours)
            return value is not None and self.same(value, theirs)
        if ours.kind != "equation":
            value = forms.stated(theirs, gold=True)
            return value is not None and self.same(ours, value)
        name, other = forms.named(theirs), forms.named(ours)
        if name and other and not symbols(name[1]) and not symbols(other[1]):
            unknowns = {name[0].lower(), other[0].lower()}
            alike = len(unknowns) == 1 or max(map(len, unknowns)) > LONGEST_NAME  # "area" is a label
            return alike and self.same(other[1], name[1])
        return forms.proportional(forms.difference(ours), forms.difference(theirs), signed=False)

    def same_relation(self, ours: Node, theirs: Node) -> bool:
        """Compare inequalities, also where sides are exchanged; those of one unknown are intervals."""
        unknowns = [{name.lower() for name in symbols(node)} for node in (ours, theirs)]
        if ours.kind == theirs.kind == "relation" and unknowns[0] != unknowns[1]:
            return False
        intervals = [ranges.as_interval(node) for node in (ours, theirs)]
        if all(intervals):
            return self.same_container(*intervals)
        unions = [ranges.as_union(node) for node in (ours, theirs)]
        if all(unions):
            return ranges.same_ranges(*unions, self.same)
        if ours.kind != "relation" or theirs.kind != "relation" or len(ours.parts) != len(theirs.parts):
            return False
        ours, theirs = ranges.rising(ours), ranges.rising(theirs)
        if ours.name != theirs.name:
            return False
        if len(ours.parts) > 2:  # a < b < c, which read from the right is c > b > a
            return self.in_order(ours.parts, theirs.parts)
        return forms.proportional(forms.difference(ours), forms.difference(theirs), signed=ours.name != "!=")

    def same_container(self, ours: Node, theirs: Node) -> bool:
        """Compare sets and bare lists in any order, tuples and lists in theirs, intervals with their brackets."""
        conditions = ours.kind == "bare" and all(part.kind == "relation" for part in ours.parts)  # x >= 2 and x <= 7
        ends = conditions and theirs.kind in ("list", "tuple", "interval")
        if {"union", "difference"} & {ours.kind, theirs.kind} or ends:
            unions = [ranges.as_union(node) for node in (ours, theirs)]
            return all(unions) and ranges.same_ranges(*unions, self.same)
        if "interval" in (ours.kind, theirs.kind):
            return (ours.kind, ours.name) == (theirs.kind, theirs.name) and self.in_order(ours.parts, theirs.parts)
        if ours.kind not in CONTAINERS or theirs.kind not in CONTAINERS:
            return self.same_vector(ours, theirs)
        if theirs.kind == "tuple" and ours.kind in ("list", "set") and [part.kind for part in ours.parts] == ["tuple"]:
            return self.same(ours.parts[0], theirs)  # [(4, 3)], the one solution of a system
        # Two ends in square brackets may be a closed interval, in round ones an open one or a point
        brackets, array = {ours.kind, theirs.kind}, "array" in (ours.name, theirs.name)
        if (
            (brackets == {"list", "tuple"} or (theirs.kind == "list" and ours.kind == "bare"))
            and len(theirs.parts) == 2
            and not (self.mathematics or self.measured or array)
        ):
            return False
        if "set" in brackets:
            if "tuple" in brackets or ("list" in brackets and not self.mathematics and theirs.kind == "list"):
                return False
            return self.any_order(self.distinct(ours.parts), self.distinct(theirs.parts))
        if (
            theirs.kind == "bare"
            and forms.names_differ(theirs.parts)
            and not any(part.kind in ("equation", "ratio") for part in ours.parts)
        ):  # (1, -1) for a = 1, b = -1
            return self.in_order(ours.parts, tuple(part.parts[1] for part in theirs.parts))
        if theirs.kind == "bare" and all(part.kind == "tuple" for part in ours.parts):  # a solution given twice
            return self.any_order(self.distinct(ours.parts), self.distinct(theirs.parts))
        if theirs.kind == "bare" or (self.mathematics and theirs.kind == "list"):
            return self.any_order(ours.parts, theirs.parts)
        equations = any(part.kind == "equation" for part in theirs.parts)
        return self.in_order(ours.parts if equations else forms.by_name(ours.parts), theirs.parts)

    def same_matrix(self, ours: Node, theirs: Node) -> bool:
        """Compare matrices row by row, also where one is calculated, or a sum of unit vectors."""
        rows = [matrices.rows_of_matrix(node) for node in (ours, theirs)]
        if ours.name == theirs.name == "cases":  # pieces of a function, in any order
            return self.any_order(ours.parts, theirs.parts)
        if None in rows:
            return self.same_vector(ours, theirs)
        return [*map(len, rows[0])] == [*map(len, rows[1])] and all(
            self.in_order(row, other) for row, other in zip(*rows, strict=True)
        )

    def same_vector(self, ours: Node, theirs: Node) -> bool:
        """Compare ``2i - j`` with a column or tuple of two or three numbers."""
        for vector, node in ((ours, theirs), (theirs, ours)):
            rows = matrices.rows_of_matrix(node) if node.kind in ("matrix", "tuple", "list") else None
            if rows and len(rows) in (2, 3) and all(len(row) == 1 for row in rows) and vector.kind not in CONTAINERS:
                summed = matrices.unit_vector_sum(vector, len(rows))
                return summed is not None and self.in_order(summed.parts, tuple(row[0] for row in rows))
        return False

    def in_order(self, ours: tuple[Node, ...], theirs: tuple[Node, ...]) -> bool:
        """Return whether items are the same in order; names before an answer's values (``x = 3``) do not count."""
        if len(ours) != len(theirs):
            return False
        return all(self.same(*pair) for pair in zip(_assigned(ours, theirs), theirs, strict=True))

    def any_order(self, ours: tuple[Node, ...], theirs: tuple[Node, ...]) -> bool:
        """Return whether items are the same in some order; long lists of constants are sorted by size first."""
        if len(ours) != len(theirs):
            return False
        if len(ours) > MAX_ITEMS_UNORDERED:
            try:
                return self.in_order(tuple(sorted(ours, key=forms.size)), tuple(sorted(theirs, key=forms.size)))
            except Undefined:
                return self.in_order(ours, theirs)
        left = _assigned(ours, theirs)
        for other in theirs:
            at = next((index for index, node in enumerate(left) if self.same(node, other)), None)
            if at is None:
                return False
            del left[at]
        return True

    def distinct(self, items: tuple[Node, ...]) -> tuple[Node, ...]:
        """Return the items of a set, each once."""
        kept: list[Node] = []
        for item in items[:MAX_ITEMS_UNORDERED]:
            if not any(self.same(item, other) for other in kept):
                kept.append(item)
        return (*kept, *items[MAX_ITEMS_UNORDERED:])
