"""Sphinx extension: links the first mention of each glossary term on a page, and shows its definition on hover.

A term is linked where it is first mentioned in running text; ``{term}`` links it anywhere. Words of everyday language
that the glossary defines too (``term_hover_plain``, by default ``PLAIN``) are linked by ``{term}`` alone.
``term_hover.css`` shows the definition at the link on hover and on keyboard focus; a finger's first tap
shows it too (``book.js``), the second follows the link.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx import addnodes

# Text inside one of these is no running text, or is a link already.
CLOSED = (
    nodes.reference, nodes.literal, nodes.title, nodes.raw, nodes.math, nodes.caption, nodes.field_name, nodes.term,
    nodes.target, nodes.block_quote, nodes.strong, nodes.footnote, nodes.citation, nodes.thead, addnodes.glossary,
    addnodes.pending_xref,
)  # fmt: skip
PLAIN = (
    "answer", "attempt", "audit", "decoding", "execution", "family", "finding", "hybrid", "ours", "percentage point",
    "point", "problem", "program", "prompt", "published", "question", "record", "scale", "source", "world",
)  # fmt: skip
LONGEST = 260  # characters of a definition that are shown


class term_reference(nodes.reference):  # noqa: N801  (docutils names a node's visitor after its class, in lower case)
    """A link to a term of the glossary, with the term's definition in ``definition``."""


def visit(translator: Any, node: term_reference) -> None:
    """Write the opening tag; without an address (a page of its own) the text stays plain."""
    attributes = {"data-definition": node["definition"], "class": "glossary-term", "href": node["refuri"]}
    translator.body.append(translator.starttag(node, "a", "", **attributes))


def depart(translator: Any, node: term_reference) -> None:
    """Write the closing tag."""
    translator.body.append("</a>")


def shorten(text: str) -> str:
    """Return a definition in one line, cut at a word where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else text[:LONGEST].rsplit(" ", 1)[0] + " ..."


def keep_definitions(app: Any, doctree: nodes.document) -> None:
    """Keep the definition of each term of a page's glossaries, by the term's name."""
    kept = app.env.__dict__.setdefault("term_definitions", {})
    for item in doctree.findall(nodes.definition_list_item):
        if not isinstance(item.parent.parent, addnodes.glossary):
            continue
        definition = next(item.findall(nodes.definition), None)
        for term in item.findall(nodes.term):
            name = "".join(text.astext() for text in term.findall(nodes.Text))
            kept[name] = (app.env.docname, term["ids"][0], shorten(definition.astext() if definition else ""))


def pattern(name: str) -> re.Pattern[str]:
    """Return the expression that finds a term in text: whole words, a plural s, capitals as the term has them."""
    flags = re.NOFLAG if re.search(r"[A-Z]", name) else re.IGNORECASE
    return re.compile(rf"(?<![\w-]){re.escape(name)}s?(?![\w-])", flags)


def running_text(doctree: nodes.document) -> Iterator[nodes.Text]:
    """Yield the pieces of running text of a page, in order."""
    for paragraph in list(doctree.findall(nodes.paragraph)):
        for text in list(paragraph.findall(nodes.Text)):
            node = text.parent
            while node is not None and not isinstance(node, CLOSED):
                node = node.parent
            if node is None:
                yield text


def link_first_mentions(doctree: nodes.document, names: list[str], link: Any) -> None:
    """Replace the first mention of each term in a page's running text by ``link(name, text)``."""
    patterns = {name: pattern(name) for name in sorted(names, key=len, reverse=True)}
    for text in running_text(doctree):
        pieces: list[nodes.Node] = [text]
        for name, expression in list(patterns.items()):
            for at, piece in enumerate(pieces):
                found = expression.search(str(piece)) if isinstance(piece, nodes.Text) else None
                if found:
                    words = str(piece)
                    before, after = nodes.Text(words[: found.start()]), nodes.Text(words[found.end() :])
                    pieces[at : at + 1] = [*filter(str, [before]), link(name, found[0]), *filter(str, [after])]
                    del patterns[name]
                    break
        if len(pieces) > 1:
            text.parent.replace(text, pieces)


def show_definitions(app: Any, doctree: nodes.document, docname: str) -> None:
    """Give each link to a term its definition, and link first mentions, in HTML."""
    if app.builder.format != "html":
        return
    terms = app.env.__dict__.get("term_definitions", {})
    by_place = {place[:2]: name for name, place in terms.items()}
    glossaries = {docname for docname, _, _ in terms.values()}

    def address(name: str) -> str:
        target, anchor, _ = terms[name]
        return f"{app.builder.get_relative_uri(docname, target)}#{anchor}"

    def link(name: str, text: str) -> term_reference:
        return term_reference("", text, refuri=address(name), definition=terms[name][2])

    addresses = {address(name): name for name in by_place.values()} if docname not in glossaries else {}
    linked = set()
    for reference in list(doctree.findall(nodes.reference)):
        name = addresses.get(reference.get("refuri", ""))
        if name is not None:
            linked.add(terms[name][:2])
            reference.replace_self(link(name, reference.astext()))
    if docname not in glossaries:
        plain = set(app.config.term_hover_plain)
        link_first_mentions(doctree, [n for n in terms if n not in plain and terms[n][:2] not in linked], link)


def forget(app: Any, env: Any, docname: str) -> None:
    """Drop the definitions of a page that is read again."""
    kept = env.__dict__.get("term_definitions", {})
    for name in [name for name, place in kept.items() if place[0] == docname]:
        del kept[name]


def merge(app: Any, env: Any, docnames: list[str], other: Any) -> None:
    """Take over the definitions that another process has read."""
    env.__dict__.setdefault("term_definitions", {}).update(other.__dict__.get("term_definitions", {}))


def setup(app: Any) -> dict[str, Any]:
    """Register the extension with Sphinx."""
    app.add_config_value("term_hover_plain", list(PLAIN), "html", types=(list,))
    app.add_node(term_reference, html=(visit, depart), latex=(lambda *_: None, lambda *_: None))
    app.add_css_file("term_hover.css")
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("doctree-read", keep_definitions)
    app.connect("doctree-resolved", show_definitions)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
