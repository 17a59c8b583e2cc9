"""The planner's choices: every figure is the Python planner's, and the script shows the entry that was chosen."""

import json
import re
import shutil
import subprocess

import pytest

from mammoth_utils.training import hardware_tables, planner_choices

HARDWARE = hardware_tables.Hardware.of("RTX 4090", 1, 0, 2048, 1, True)


@pytest.fixture(scope="module")
def widget():
    return planner_choices(HARDWARE)


def test_every_card_model_and_method_has_an_entry_and_it_says_what_the_planner_says(widget):
    for card, plans in widget.plans.items():
        machine = hardware_tables.Hardware.of(card, 1, 0, 2048, 1, True)
        rows = hardware_tables.scale_table(machine)
        assert {f"{row['size']} {row['family']}" for row in rows} == set(plans)
        for row in rows:
            plan = plans[f"{row['size']} {row['family']}"][row["method"]]
            memory, cards, largest, speed, hours, dollars = plan["figures"]
            assert plan["fits"] == ("yes" if row["fits"] else "no")
            assert plan["sentence"].startswith("Fits" if row["fits"] else "Does not fit")
            assert abs(float(memory.split()[0]) - row["total"]) <= (0.05 if row["total"] < 10 else 0.5)
            assert cards == (str(row["cards"]) if row["cards"] else "none up to 64")
            assert hours == (f"{row['hours']:,.1f}" if row["cards"] else "-")
            assert (largest == "-", speed == "-") == (row["cards"] is None, row["cards"] is None)
            assert dollars in ("-", "no price") or float(dollars.replace(",", "")) == round(row["dollars"])


def test_a_price_of_ones_own_counts_for_ones_own_card_alone():
    dear = planner_choices(hardware_tables.Hardware.of("H100", 1, 1000, 2048, 1, True))
    usual = planner_choices(hardware_tables.Hardware.of("H100", 1, 0, 2048, 1, True))
    assert dear.plans["H100"] != usual.plans["H100"]
    assert dear.plans["H200"] == usual.plans["H200"]


def test_what_cannot_be_planned_is_refused_with_the_choices():
    with pytest.raises(ValueError, match="known: .*7b llama by qlora"):
        planner_choices(HARDWARE, method="lorra")


def test_the_markup_loads_nothing_and_labels_every_choice(widget):
    markup = widget._repr_html_()
    assert not re.search(r"(?:src|href)=", markup)
    assert len(re.findall(r"<label>\w+<select>", markup)) == 3
    assert re.findall(r"<option value=\"([^\"]+)\" selected>", markup) == list(widget.first)
    assert 'role="status"' in markup
    assert "9.0 of 22.4 GiB" in markup, "without JavaScript the page's own choice stands there"
    assert len(markup) < 200_000


@pytest.mark.skipif(shutil.which("node") is None, reason="runs the widget's script in node, which is not here")
def test_the_script_shows_the_entry_that_python_wrote(widget, tmp_path):
    markup = widget._repr_html_()
    script = re.findall(r"<script>(.*?)</script>", markup, re.S)[0]
    data = re.search(r'class="mp-data">(.*?)</script>', markup, re.S)[1]
    (tmp_path / "run.js").write_text(_DOM.replace("DATA", json.dumps(data)) + script + _STEPS, encoding="utf8")
    done = subprocess.run(["node", str(tmp_path / "run.js")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    shown = [json.loads(line) for line in done.stdout.splitlines()]
    for (card, model, method), at in zip(_CHOICES, shown, strict=True):
        plan = widget.plans[card][model][method]
        assert at == [plan["fits"], plan["sentence"], *plan["figures"]]


_CHOICES = (("RTX 4090", "7b llama", "qlora"), ("T4", "7b llama", "qlora"), ("T4", "70b llama", "full"))
# As much of a browser as the script touches.
_DOM = """
function el(v){return {value:v,dataset:{},textContent:"",parentNode:{},addEventListener(n,f){this[n]=f}}}
var choices=["RTX 4090","7b llama","qlora"].map(el),cells=[1,2,3,4,5,6].map(()=>el(""));
var parts={".mp-data":{textContent:DATA},".mp-sentence":el("")};
var root={dataset:{},querySelector:q=>parts[q],querySelectorAll:q=>q==="dd"?cells:choices};
var document={getElementById:i=>root};
"""
_STEPS = """
function say(){console.log(JSON.stringify([root.dataset.fits,parts[".mp-sentence"].textContent,
 ...cells.map(c=>c.parentNode.hidden===(c.textContent==="-")?c.textContent:"shown wrongly")]))}
say();choices[0].value="T4";choices[0].change();say();
choices[1].value="70b llama";choices[2].value="full";choices[2].change();say();
"""
