"""Draw the library's packages and their imports, from its source text, as a picture in the text's own colour.

``python workflow/draw_architecture.py`` writes ``book/_static/architecture.html``, which the page shows.
"""

from __future__ import annotations

import ast
import html
import sys
import textwrap
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import library_imports

TARGET = library_imports.ROOT / "book" / "_static" / "architecture.html"
WIDTH, BOX, HEIGHT, GAP = 780, 176, 98, 58
MOST_LETTERS, MOST_LINES = 27, 5  # of a caption


def levels(graph: dict[str, set[str]]) -> dict[str, int]:
    """Return the row of each package, counted from below: one more than the highest package that it imports."""
    rows: dict[str, int] = {}

    def row(package: str) -> int:
        if package not in rows:
            rows[package] = 1 + max((row(below) for below in graph[package]), default=0)
        return rows[package]

    for package in graph:
        row(package)
    return rows


def places(rows: dict[str, int], graph: dict[str, set[str]]) -> dict[str, tuple[float, float]]:
    """Return the upper left corner of each box; a row is ordered by the middle of what its packages import."""
    corners: dict[str, tuple[float, float]] = {}
    highest = max(rows.values())
    for level in range(1, highest + 1):
        names = sorted(name for name in rows if rows[name] == level)

        def middle(name: str) -> float:
            below = [corners[other][0] for other in sorted(graph[name]) if other in corners]
            return sum(below) / len(below) if below else WIDTH / 2

        names.sort(key=middle)
        free = (WIDTH - BOX * len(names)) / (len(names) + 1)
        for at, name in enumerate(names):
            corners[name] = (free + at * (BOX + free), (highest - level) * (HEIGHT + GAP) + 4)
    return corners


def caption(package: str) -> str:
    """Return the first sentence of a package's docstring, without the package's name before it."""
    text = (library_imports.LIBRARY / package / "__init__.py").read_text(encoding="utf8")
    sentence = " ".join((ast.get_docstring(ast.parse(text)) or "").split()).partition(". ")[0].rstrip(".")
    return sentence.partition(": ")[2] or sentence


def draw() -> str:
    """Return the picture as SVG in a box that scrolls where the page is narrower."""
    whole = library_imports.package_graph()
    packages = [name for name in whole if (library_imports.LIBRARY / name).is_dir()]
    shared = [name for name in whole if name not in packages]
    graph = {name: whole[name] & set(packages) for name in packages}
    corners = places(levels(graph), graph)
    bottom = max(y for _, y in corners.values()) + HEIGHT
    parts = [
        '<p class="bk-hint bk-narrow">scroll sideways →</p>',
        '<div class="bk-scroll bk-drawing" tabindex="0" role="group" aria-label="The packages">',
        f'<svg role="img" viewBox="0 0 {WIDTH} {bottom + 100:g}" xmlns="http://www.w3.org/2000/svg">',
        f"<title>The library's packages: each imports those that its arrows lead to. {_in_words(graph)}</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="currentColor"/></marker></defs>',
        '<g fill="none" stroke="currentColor" stroke-opacity="0.55" stroke-width="1.3">',
    ]
    for name in packages:
        targets = sorted(sorted(graph[name]), key=lambda other: corners[other][0])
        for at, other in enumerate(targets, 1):
            x = corners[name][0] + BOX * at / (len(targets) + 1)
            sources = sorted((p for p in packages if other in graph[p]), key=lambda p: corners[p][0])
            to = corners[other][0] + BOX * (sources.index(name) + 1) / (len(sources) + 1)
            top, end = corners[name][1] + HEIGHT, corners[other][1] - 2
            bend = (end - top) / 2
            parts.append(
                f'<path d="M{x:.0f} {top:.0f} C{x:.0f} {top + bend:.0f} {to:.0f} {end - bend:.0f} {to:.0f} {end:.0f}" '
                'marker-end="url(#tip)"/>'
            )
    parts.append("</g>")
    for name in packages:
        x, y = corners[name]
        parts.append(_box(x, y, BOX, HEIGHT, name, textwrap.wrap(caption(name), MOST_LETTERS, max_lines=MOST_LINES)))
    words = textwrap.wrap("imported by all of them: " + ", ".join(sorted(shared)), 120)
    parts.append(_box(4, bottom + 36, WIDTH - 8, 56, "shared nouns", words))
    return "\n".join([*parts, "</svg>", "</div>"]) + "\n"


def _in_words(graph: dict[str, set[str]]) -> str:
    """Return the arrows as a sentence, for a reader who does not see the picture."""
    return "; ".join(f"{name} imports {', '.join(sorted(below))}" for name, below in graph.items() if below) + "."


def _box(x: float, y: float, width: float, height: float, name: str, lines: list[str]) -> str:
    """Return a box with a name and lines below it; it hides the arrows that pass behind it."""
    middle = x + width / 2
    text = [f'<text x="{middle:.0f}" y="{y + 19:.0f}" font-size="14" font-weight="700">{html.escape(name)}</text>']
    text += [f'<text x="{middle:.0f}" y="{y + 35 + 14 * at:.0f}" font-size="11">{html.escape(line)}</text>'
             for at, line in enumerate(lines)]  # fmt: skip
    return (
        f'<rect x="{x:.0f}" y="{y:.0f}" width="{width:.0f}" height="{height:.0f}" rx="6" stroke="currentColor" '
        'stroke-width="1.3" style="fill: var(--pst-color-surface, #eee)"/>\n'
        f'<g fill="currentColor" text-anchor="middle" font-family="inherit">{"".join(text)}</g>'
    )


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf8")
