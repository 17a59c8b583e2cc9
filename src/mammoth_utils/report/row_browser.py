"""A table to search, filter and page through, as one piece of HTML that loads nothing from outside.

It works in a notebook, in the built book and from a file, in light and dark, and down to a phone's width, where each
row becomes a card. Without JavaScript a line says so.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

PAGE = 25
MANY = 7  # columns from which a table shows cards at every width

_STYLE = """
.mb{font-size:.85em;margin:1em 0;overflow-wrap:break-word}
.mb-bar{display:flex;flex-wrap:wrap;gap:.5em;align-items:center;margin:.4em 0}
.mb-bar input,.mb-bar select,.mb-bar button{font:inherit;padding:.3em .5em;color:inherit;background:transparent;
border:1px solid #8888;border-radius:4px;max-width:100%;min-height:2.2em}
.mb-bar select option{color:#000;background:#fff}
.mb-bar input::placeholder{color:var(--pst-color-text-muted,inherit);opacity:1}
.mb-bar input{flex:1 1 12em}.mb-bar button:disabled{opacity:.75;cursor:default}
.mb table{border-collapse:collapse;width:100%;display:table}
.mb th,.mb td{text-align:left;vertical-align:top;padding:.3em .5em;border-bottom:1px solid #8884;white-space:normal}
.mb td.mb-code{font-family:monospace;white-space:pre-wrap}
.mb td.mb-long{min-width:14em;overflow-wrap:anywhere}
"""
# Rows as cards: on a narrow screen, and always where a table has many columns.
_CARDS = """
WIDE table,WIDE tbody{display:block;width:100%}WIDE thead{display:none}
WIDE tr{display:grid;grid-template-columns:repeat(auto-fill,minmax(13em,1fr));border:1px solid #8886;
border-radius:6px;margin:.6em 0;padding:.3em}
WIDE td{display:block;border:0;padding:.15em .4em;min-width:0;overflow-wrap:anywhere}WIDE td.mb-long{grid-column:1/-1}
WIDE td::before{content:attr(data-name) ": ";font-weight:bold;font-family:sans-serif}WIDE td.mb-none{display:none}
"""
_STYLE += _CARDS.replace("WIDE", ".mb-cards") + "@media (max-width:700px){" + _CARDS.replace("WIDE", ".mb") + "}\n"

_SCRIPT = """
(function(){
var root=document.getElementById(ID),box=root.querySelector(".mb-data");
if(!box||root.dataset.ready)return;root.dataset.ready="1";
var data=JSON.parse(box.textContent),rows=data.rows,cols=data.columns,page=0,shown=rows;
var find=root.querySelector(".mb-find"),picks=[].slice.call(root.querySelectorAll("select"));
var body=root.querySelector("tbody"),count=root.querySelector(".mb-count");
var back=root.querySelector(".mb-back"),on=root.querySelector(".mb-on");
var texts=rows.map(function(row){return row.join("\\u0001").toLowerCase()});
function draw(){
 var last=Math.max(0,Math.ceil(shown.length/data.page)-1);page=Math.min(Math.max(0,page),last);
 body.textContent="";
 shown.slice(page*data.page,(page+1)*data.page).forEach(function(row){
  var line=document.createElement("tr");
  row.forEach(function(text,at){
   var cell=document.createElement("td");cell.textContent=text;cell.dataset.name=cols[at].name;
   cell.className=(cols[at].code?"mb-code ":"")+(cols[at].long?"mb-long ":"")+(text===""?"mb-none":"");
   line.appendChild(cell)});
  body.appendChild(line)});
 count.textContent=shown.length+" of "+rows.length+(last?", page "+(page+1)+" of "+(last+1):"");
 back.disabled=page===0;on.disabled=page===last}
function sift(){
 var words=find.value.toLowerCase().split(/\\s+/).filter(Boolean);
 shown=rows.filter(function(row,at){
  return picks.every(function(pick){return pick.value===""||row[+pick.dataset.column]===pick.value})&&
  words.every(function(word){return texts[at].indexOf(word)>=0})});
 page=0;draw()}
find.addEventListener("input",sift);picks.forEach(function(pick){pick.addEventListener("change",sift)});
back.addEventListener("click",function(){page--;draw()});on.addEventListener("click",function(){page++;draw()});
draw()})();
"""


def browser_html(
    rows: Sequence[Sequence[Any]],
    columns: Sequence[str],
    name: str,
    filters: Sequence[str] = (),
    code: Sequence[str] = (),
    long: Sequence[str] = (),
    page: int = PAGE,
) -> str:
    """Return the HTML of a table.

    Args:
        rows: Values in the order of the columns; None shows as an empty cell.
        name: The table's caption and identity, unlike any other on the page.
        filters: Columns with a choice of their values above the table.
        code: Columns in a fixed width.
        long: Columns of running text, which get more room.

    Raises:
        ValueError: If a row has another number of values than there are columns, or a named column is unknown.
    """
    unknown = [column for column in (*filters, *code, *long) if column not in columns]
    if unknown:
        raise ValueError(f"unknown column {unknown[0]!r}; known: {', '.join(columns)}")
    cells = [["" if value is None else str(value) for value in row] for row in rows]
    odd = next((row for row in cells if len(row) != len(columns)), None)
    if odd is not None:
        raise ValueError(f"a row has {len(odd)} values for {len(columns)} columns")
    identity = "mb-" + "".join(character if character.isalnum() else "-" for character in name.lower())
    about = [{"name": column, "code": column in code, "long": column in long} for column in columns]
    data = json.dumps({"page": page, "columns": about, "rows": cells}, ensure_ascii=False, separators=(",", ":"))
    heads = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in columns)
    places = {column: columns.index(column) for column in filters}
    choices = "".join(_choice(column, [row[at] for row in cells], at) for column, at in places.items())
    # No `</script>` can stand in the data, and MathJax leaves what it holds alone: answers are shown as they were read.
    safe = data.replace("<", "\\u003c")
    title = html.escape(name[:1].upper() + name[1:])
    caption = f'<figcaption class="bk-caption" data-kind="table">{title}</figcaption>'
    shape = "mb-cards " if len(columns) > MANY else ""
    return (
        f'<figure class="mb {shape}tex2jax_ignore mathjax_ignore" id="{identity}"><style>{_STYLE}</style>{caption}'
        f'<div class="mb-bar"><input class="mb-find" type="search" placeholder="search" '
        f'aria-label="search in {html.escape(name)}">{choices}</div>'
        f'<table aria-label="{html.escape(name)}"><thead><tr>{heads}</tr></thead><tbody></tbody></table>'
        f'<div class="mb-bar"><button class="mb-back" type="button">back</button>'
        f'<button class="mb-on" type="button">on</button><span class="mb-count" aria-live="polite"></span></div>'
        f"<noscript>This table of {len(cells)} rows needs JavaScript.</noscript>"
        f'<script type="application/json" class="mb-data">{safe}</script>'
        f"<script>{_SCRIPT.replace('ID', json.dumps(identity), 1)}</script></figure>"
    )


def _choice(name: str, values: Sequence[str], at: int) -> str:
    listed = "".join(
        f'<option value="{html.escape(value)}">{html.escape(value)} ({values.count(value)})</option>'
        for value in sorted(filter(None, set(values)))
    )
    label = html.escape(name)
    return f'<select data-column="{at}" aria-label="{label}"><option value="">{label}: all</option>{listed}</select>'


def browse_rows(
    records: Sequence[Mapping[str, Any]],
    name: str,
    filters: Sequence[str] = (),
    code: Sequence[str] = (),
    long: Sequence[str] = (),
) -> Any:
    """Return rows with the same keys as a table for a notebook; named columns that they lack are left out."""
    from IPython.display import HTML

    columns = list(records[0]) if records else ["none"]
    filters, code, long = ([column for column in named if column in columns] for named in (filters, code, long))
    return HTML(
        browser_html([[row[column] for column in columns] for row in records], columns, name, filters, code, long)
    )
