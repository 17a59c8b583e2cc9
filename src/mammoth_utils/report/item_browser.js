// The browser of problems: files of items are loaded as scripts, each of which calls the function that is named in the
// index, so that it works from a disk too. Whatever a model wrote is put into the page as text, never as markup.
(function () {
  "use strict";
  const root = document.getElementById("item-browser");
  if (!root || root.dataset.ready) return;
  root.dataset.ready = "1";
  const index = JSON.parse(root.querySelector(".ib-index").textContent);
  const PAGE = 20;
  const RULES = { corrected: "corrected", published: "published" };
  const CASES = {
    "": "all problems",
    program: "program right, prose wrong",
    prose: "prose right, program wrong",
    neither: "both wrong",
    both: "both right",
    right: "the answer that counts is right",
    wrong: "the answer that counts is wrong",
    silent: "no answer was read",
    differ: "the two rules differ",
  };
  const SORTS = {
    "": "order of the benchmark",
    short: "shortest question first",
    long: "longest question first",
    brief: "shortest completions first",
    wordy: "longest completions first",
    family: "kind of problem",
  };
  const WORDS = { correct: "right", incorrect: "wrong", no_answer: "no answer", ungradable_gold: "gold cannot be matched" };
  const models = new Map(index.models.map((model) => [model.name, model]));
  const state = { model: "", set: "", rule: "corrected", show: "", sort: "", find: "", item: "" };
  let items = [], shown = [], page = 0, loading = 0, writing = false, touched = false;

  // Loading ------------------------------------------------------------------------------------------------------
  const store = new Map(), asked = new Map();
  window[index.call] = (name, content) => store.set(name, content);

  function address() {
    const lab = document.getElementById("jupyter-config-data");
    return lab ? (JSON.parse(lab.textContent).baseUrl || "/") + index.lab : index.book;
  }

  function load(name) {
    if (!asked.has(name)) {
      asked.set(name, new Promise((done, failed) => {
        const script = document.createElement("script");
        script.src = address() + encodeURIComponent(name) + ".js?" + index.version;
        script.onload = () => (store.has(name) ? done(store.get(name)) : failed(new Error(name + ".js is of another build")));
        script.onerror = () => { asked.delete(name); failed(new Error("the file " + name + ".js is not beside this page")); };
        document.head.appendChild(script);
      }));
    }
    return asked.get(name);
  }

  async function itemsOf(model, set) {
    const [file, questions] = await Promise.all([
      load(model.name + "." + set), index.questions.includes(set) ? load("questions." + set) : {},
    ]);
    return file.items.map(([number, attempts, verdicts, order, counted, alone, extra], place) => {
      const id = file.prefix + "/" + number;
      const [question, gold, options, field, family] = (extra && extra.question) || questions[id] || [];
      const judged = (at) => (at < 0 ? {} : Object.fromEntries(index.rules.map((rule, i) => {
        const packed = verdicts[at][i];
        return [rule, packed ? { answer: packed[0], outcome: index.marks[packed[1]], reason: packed[2] } : null];
      })));
      const made = attempts.map(([kind, completion, status, printed, error], i) => ({
        kind, completion, status: status || "", printed: printed || "", error: error || "", verdicts: judged(alone[i]),
      }));
      const first = (kind) => made.find((one) => one.kind === kind && Object.keys(one.verdicts).length)
        || made.find((one) => one.kind === kind);
      const item = {
        model, set, place, id, question, gold, options: options || [], field: field || "", family: family || "",
        attempts: made, order, counted: judged(counted), program: first("pot"), prose: first("cot"),
        facts: (extra && extra.facts) || [],
      };
      item.text = [id, question, gold, family, ...item.options, ...made.map((one) => one.completion), ...item.facts.flat()]
        .filter(Boolean).join("\n").toLowerCase();
      return item;
    });
  }

  // What is right -------------------------------------------------------------------------------------------------
  const outcome = (verdicts, rule) => (verdicts && verdicts[rule] ? verdicts[rule].outcome : "");
  const isRight = (attempt, rule) => {
    const found = attempt ? outcome(attempt.verdicts, rule) : "";
    return found ? found === "correct" : null;
  };
  const differ = (item) => new Set(index.rules.map((rule) => outcome(item.counted, rule)).filter(Boolean)
    .map((found) => found === "correct")).size > 1;

  function isCase(item, name) {
    const program = isRight(item.program, state.rule), prose = isRight(item.prose, state.rule);
    const counted = outcome(item.counted, state.rule);
    switch (name) {
      case "program": return program === true && prose === false;
      case "prose": return program === false && prose === true;
      case "neither": return program === false && prose === false;
      case "both": return program === true && prose === true;
      case "right": return counted === "correct";
      case "wrong": return counted !== "correct";
      case "silent": return counted === "no_answer";
      case "differ": return differ(item);
      default: return true;
    }
  }

  // Building ------------------------------------------------------------------------------------------------------
  function make(tag, given = {}, ...inside) {
    const node = document.createElement(tag);
    for (const [key, value] of Object.entries(given)) {
      if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
      else if (value !== false && value !== null && value !== undefined) node.setAttribute(key, value === true ? "" : value);
    }
    node.append(...inside.filter((one) => one !== null && one !== undefined));
    return node;
  }

  function field(name, label, control) {
    control.id = "ib-" + name;
    control.addEventListener(name === "find" ? "input" : "change", () => {
      state[name] = control.value;
      state.item = "";
      touched = true;
      if (name === "model" || name === "set") refresh(true);
      else sift();
    });
    return make("div", { class: "ib-field ib-" + name }, make("label", { for: control.id }, label), control);
  }

  const select = () => make("select");
  const controls = {
    model: select(), set: select(), rule: select(), show: select(), sort: select(),
    find: make("input", { type: "search", placeholder: "words, a number, an id", autocomplete: "off", spellcheck: "false" }),
  };
  const status = make("p", { class: "ib-status", role: "status" });
  const list = make("ol", { class: "ib-list" });
  const back = make("button", { type: "button", onclick: () => turn(-1) }, "previous page");
  const on = make("button", { type: "button", onclick: () => turn(1) }, "next page");
  const pages = make("nav", { class: "ib-buttons", "aria-label": "pages of problems" }, back, on);

  function fill(control, choices, value) {
    control.replaceChildren(...choices.map(([key, label]) => make("option", { value: key }, label)));
    control.value = value;
  }

  function build() {
    for (const group of [...new Set(index.models.map((model) => model.group))]) {
      controls.model.append(make("optgroup", { label: group }, ...index.models.filter((model) => model.group === group)
        .map((model) => make("option", { value: model.name }, model.label))));
    }
    fill(controls.rule, [...index.rules].sort().map((rule) => [rule, RULES[rule] || rule]), state.rule);
    fill(controls.sort, Object.entries(SORTS), "");
    fill(controls.set, [["", "all"]], "");
    fill(controls.show, Object.entries(CASES), "");
    pages.hidden = true;
    root.append(
      make("form", { class: "ib-bar", role: "search", "aria-label": "problems", onsubmit: (event) => event.preventDefault() },
        field("model", "model", controls.model), field("set", "benchmark", controls.set),
        field("rule", "right by the rule", controls.rule), field("show", "show", controls.show),
        field("sort", "sorted by", controls.sort), field("find", "search", controls.find)),
      make("div", { class: "ib-buttons" },
        make("button", { type: "button", onclick: () => download("csv") }, "CSV"),
        make("button", { type: "button", onclick: () => download("json") }, "JSON"),
        copyButton("copy link to this list", () => link({ ...state, item: "" }))),
      status, list, pages);
  }

  function copyButton(label, text) {
    const button = make("button", { type: "button" }, label);
    button.addEventListener("click", async () => {
      let done = true;
      try { await navigator.clipboard.writeText(text()); } catch (refused) {
        // Without a secure context there is no clipboard, and a selection is copied instead.
        const area = make("textarea", { class: "ib-hidden", "aria-hidden": "true" });
        area.value = text();
        root.append(area); area.select();
        done = document.execCommand("copy");
        area.remove(); button.focus();
      }
      button.textContent = done ? "copied" : "could not copy";
      setTimeout(() => { button.textContent = label; }, 1500);
    });
    return button;
  }

  // The list ------------------------------------------------------------------------------------------------------
  async function refresh(another = false) {
    const model = models.get(state.model) || index.models[0];
    if (!model) { status.textContent = "No completions are here yet."; return; }
    state.model = model.name;
    if (state.set && !(state.set in model.sets)) state.set = "";
    controls.model.value = state.model;
    const total = Object.values(model.sets).reduce((sum, count) => sum + count, 0);
    const sets = Object.entries(model.sets).map(([name, count]) => [name, name + " (" + count + ")"]);
    fill(controls.set, sets.length > 1 ? [["", "all (" + total + ")"], ...sets] : sets, "");
    controls.set.value = sets.length > 1 ? state.set : sets[0][0];
    const mine = ++loading, wanted = state.set ? [state.set] : Object.keys(model.sets);
    status.textContent = "loading";
    try {
      const loaded = await Promise.all(wanted.map((set) => itemsOf(model, set)));
      if (mine !== loading) return;
      items = loaded.flat();
      // A case that the other model has no problem of would only show an empty list.
      if (another && !items.some((item) => isCase(item, state.show))) state.show = "";
    } catch (problem) {
      if (mine !== loading) return;
      items = [];
      list.replaceChildren();
      status.textContent = "Nothing could be loaded: " + problem.message + ". The command make book writes the files of this page.";
      return;
    }
    sift();
  }

  function sift() {
    fill(controls.show, Object.entries(CASES).map(([name, label]) =>
      [name, label + " (" + items.filter((item) => isCase(item, name)).length + ")"]), state.show);
    for (const name of ["rule", "sort", "find"]) if (controls[name].value !== state[name]) controls[name].value = state[name];
    const words = state.find.toLowerCase().split(/\s+/).filter(Boolean);
    shown = items.filter((item) => isCase(item, state.show) && words.every((word) => item.text.includes(word)));
    const size = (item) => (item.question || "").length;
    const wrote = (item) => item.attempts.reduce((sum, one) => sum + (one.completion || "").length, 0);
    const orders = {
      short: (a, b) => size(a) - size(b), long: (a, b) => size(b) - size(a), brief: (a, b) => wrote(a) - wrote(b),
      wordy: (a, b) => wrote(b) - wrote(a), family: (a, b) => (a.family + a.id).localeCompare(b.family + b.id),
    };
    if (orders[state.sort]) shown.sort(orders[state.sort]);
    const at = shown.findIndex((item) => item.id === state.item);
    page = at < 0 ? 0 : Math.floor(at / PAGE);
    draw();
    remember();
  }

  function turn(by) {
    page += by;
    state.item = "";
    touched = true;
    draw();
    remember();
    const first = list.querySelector(".ib-row");
    if (first) first.focus();
  }

  function draw() {
    const last = Math.max(0, Math.ceil(shown.length / PAGE) - 1);
    page = Math.min(Math.max(0, page), last);
    list.replaceChildren(...shown.slice(page * PAGE, (page + 1) * PAGE).map(row));
    list.start = page * PAGE + 1;
    status.textContent = shown.length.toLocaleString("en") + " of " + items.length.toLocaleString("en") + " problems"
      + (last ? ", page " + (page + 1) + " of " + (last + 1) : "")
      + (shown.length || !items.length ? "" : ". Show all problems, or search for something else.");
    pages.hidden = !last;
    back.disabled = page === 0;
    on.disabled = page === last;
  }

  function chip(label, found) {
    const kind = found === "correct" ? "right" : found ? "wrong" : "unknown";
    return make("span", { class: "ib-chip ib-" + kind }, (label ? label + ": " : "") + (WORDS[found] || "not judged alone"));
  }

  function row(item, at) {
    const id = "ib-item-" + at, open = item.id === state.item;
    const text = item.question || "question not shown here";
    const chips = make("span", { class: "ib-chips" });
    if (item.program) chips.append(chip("program", outcome(item.program.verdicts, state.rule)), " ");
    if (item.prose) chips.append(chip("prose", outcome(item.prose.verdicts, state.rule)), " ");
    if (!item.program && !item.prose) chips.append(chip("", outcome(item.counted, state.rule)), " ");
    if (differ(item)) chips.append(make("span", { class: "ib-chip ib-unknown" }, "rules differ"));
    const button = make("button", { type: "button", class: "ib-row", "aria-expanded": String(open), "aria-controls": id },
      make("span", { class: "ib-id" }, item.id), " ",
      make("span", { class: "ib-question" }, text.length > 160 ? text.slice(0, 160) + " …" : text), " ", chips);
    const panel = make("div", { class: "ib-panel", id, hidden: !open });
    if (open) panel.append(...details(item));
    button.addEventListener("click", () => {
      const opening = panel.hidden;
      panel.hidden = !opening;
      button.setAttribute("aria-expanded", String(opening));
      if (opening && !panel.childNodes.length) panel.append(...details(item));
      state.item = opening ? item.id : "";
      touched = true;
      remember();
    });
    return make("li", {}, button, panel);
  }

  // One problem ---------------------------------------------------------------------------------------------------
  // Colours of a terminal, which tracebacks of notebooks carry.
  const plain = (text) => text.replace(/\u001b\[[0-9;]*m/g, "");

  function written(text, label) {
    return make("div", { class: "ib-written" }, make("pre", { tabindex: "0", "aria-label": label }, plain(text)),
      copyButton("copy", () => text));
  }

  function verdictLine(rule, verdict) {
    if (!verdict) return make("li", {}, rule + " rule: ", chip("", ""));
    const answer = verdict.answer === null || verdict.answer === "" ? "" : "answer " + plain(String(verdict.answer)) + ": ";
    return make("li", {}, rule + " rule: ", chip("", verdict.outcome), " ", answer + plain(verdict.reason));
  }

  const verdictList = (verdicts) => make("ul", { class: "ib-verdicts" },
    ...["corrected", "published"].filter((rule) => index.rules.includes(rule))
      .map((rule) => verdictLine(rule, verdicts[rule])));

  function attemptPart(item, attempt, at) {
    // A program that was run has a status; where an answer to the request for one has none, it was prose.
    const isProse = attempt.kind === "pot" && !attempt.status && item.model.group !== index.stored;
    const name = isProse ? "asked for a program, wrote prose" : index.kinds[attempt.kind] || attempt.kind;
    const part = make("section", { class: "ib-attempt" }, make("h3", {}, name[0].toUpperCase() + name.slice(1)));
    if (attempt.completion === null) part.append(make("p", {}, "The completion is not shown: no licence of its home allows that."));
    else part.append(written(attempt.completion, name + " of " + item.id));
    if (attempt.status) {
      const printed = attempt.printed || attempt.error;
      const how = attempt.status === "ok" ? "It ran and printed" : "It ended with: " + attempt.status.replace(/_/g, " ");
      part.append(make("p", { class: "ib-ran" }, printed ? how : how + (attempt.status === "ok" ? " nothing" : "")));
      if (printed) part.append(make("pre", { tabindex: "0", "aria-label": "output of the program of " + item.id }, plain(printed)));
    }
    if (Object.keys(attempt.verdicts).length) part.append(verdictList(attempt.verdicts));
    else part.append(make("p", {}, "It was not judged by itself."));
    if (!item.order.includes(at)) part.append(make("p", { class: "ib-note" }, "Asked besides: the model's own way of decoding did not need it."));
    return part;
  }

  function details(item) {
    const about = index.benchmarks[item.set], parts = [];
    if (item.question) {
      parts.push(make("p", { class: "ib-asked" }, item.question));
      if (item.options.length) parts.push(make("ol", { class: "ib-options", type: "A" }, ...item.options.map((one) => make("li", {}, one))));
      parts.push(make("p", {}, "Reference answer: ", make("strong", {}, item.gold),
        item.family ? " · " + [...new Set([item.field, item.family].filter(Boolean))].join(", ") : ""));
    } else {
      const home = about.home && make("a", { href: about.home }, about.home);
      parts.push(make("p", {}, "The question is not shown here (" + (about.withheld || about.in_part || "its file was not on the machine that made this page")
        + ")." + (home ? " Its home: " : ""), home));
    }
    const columns = make("div", { class: "ib-pair" });
    item.attempts.forEach((attempt, at) => columns.append(attemptPart(item, attempt, at)));
    parts.push(columns);
    if (item.order.length > 1) {
      const kinds = item.order.map((at) => index.kinds[item.attempts[at].kind]).join(", then ");
      parts.push(make("p", {}, "The model was asked for a " + kinds + ". What counts:"), verdictList(item.counted));
    }
    if (item.facts.length) {
      parts.push(make("dl", { class: "ib-facts" }, ...item.facts.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])));
    }
    const others = make("div", {});
    const buttons = make("div", { class: "ib-buttons" }, copyButton("copy link to this problem", () => link({ ...state, item: item.id })));
    const same = index.models.filter((model) => model.group === item.model.group && item.set in model.sets && model !== item.model);
    if (same.length && index.questions.includes(item.set)) {
      buttons.append(make("button", { type: "button", onclick: (event) => { event.target.disabled = true; compare(item, same, others); } },
        "the same problem by the other models"));
    }
    return [...parts, buttons, others];
  }

  async function compare(item, others, place) {
    place.textContent = "loading";
    const lines = [];
    for (const model of others) {
      let found = null;
      try { found = (await itemsOf(model, item.set)).find((one) => one.id === item.id); } catch (missing) { found = null; }
      if (!found) continue;
      const verdict = found.counted[state.rule];
      const answer = verdict && verdict.answer !== null ? "answer " + plain(String(verdict.answer)) : "no answer";
      lines.push(make("li", {}, make("a", { href: link({ ...state, model: model.name, set: item.set, show: "", find: "", item: item.id }) },
        model.label), " ", chip("", outcome(found.counted, state.rule)), " " + answer));
    }
    place.replaceChildren(lines.length ? make("ul", { class: "ib-verdicts" }, ...lines) : "No other model was asked this problem.");
  }

  // Permalinks ----------------------------------------------------------------------------------------------------
  function link(wanted) {
    const given = new URLSearchParams();
    for (const [name, value] of Object.entries(wanted)) if (value && !(name === "rule" && value === "corrected")) given.set(name, value);
    return location.href.split("#")[0] + "#" + given;
  }

  function remember() {
    if (!touched) return;
    writing = true;
    history.replaceState(null, "", link(state));
    writing = false;
  }

  function read() {
    const hash = location.hash.slice(1);
    if (!/(^|&)(model|item|set|show|find|rule|sort)=/.test(hash)) return false;
    const given = new URLSearchParams(hash);
    for (const name of Object.keys(state)) state[name] = given.get(name) || (name === "rule" ? "corrected" : "");
    if (!index.rules.includes(state.rule)) state.rule = "corrected";
    if (!(state.show in CASES)) state.show = "";
    if (!(state.sort in SORTS)) state.sort = "";
    return true;
  }

  async function follow() {
    if (writing || !read()) return;
    touched = true;
    await refresh();
    const open = list.querySelector('.ib-row[aria-expanded="true"]');
    if (open) { open.scrollIntoView({ block: "start" }); open.focus({ preventScroll: true }); }
    else if (state.item) status.textContent += "; there is no " + state.item + " among them";
    else root.scrollIntoView({ block: "start" });
  }

  // Downloads -----------------------------------------------------------------------------------------------------
  function flat(item) {
    const line = {
      model: item.model.name, benchmark: item.set, id: item.id, question: item.question || "", options: item.options,
      gold: item.gold || "", family: item.family,
    };
    for (const [kind, attempt] of [["program", item.program], ["prose", item.prose]]) {
      line[kind] = attempt ? attempt.completion || "" : "";
      if (kind === "program") { line.status = attempt ? attempt.status : ""; line.printed = attempt ? attempt.printed : ""; line.error = attempt ? attempt.error : ""; }
      for (const rule of index.rules) {
        const verdict = attempt && attempt.verdicts[rule];
        for (const key of ["answer", "outcome", "reason"]) line[[kind, rule, key].join(" ")] = verdict && verdict[key] !== null ? verdict[key] : "";
      }
    }
    for (const rule of index.rules) {
      const verdict = item.counted[rule];
      for (const key of ["answer", "outcome", "reason"]) line[["counted", rule, key].join(" ")] = verdict && verdict[key] !== null ? verdict[key] : "";
    }
    line.facts = item.facts.map(([name, value]) => name + ": " + value).join("; ");
    return line;
  }

  function download(kind) {
    const lines = shown.map(flat);
    let text = JSON.stringify(lines, null, 1);
    if (kind === "csv") {
      const cell = (value) => '"' + String(Array.isArray(value) ? value.join(" | ") : value).replace(/"/g, '""') + '"';
      const columns = Object.keys(lines[0] || { id: "" });
      text = [columns.map(cell), ...lines.map((line) => columns.map((name) => cell(line[name])))].map((cells) => cells.join(",")).join("\r\n") + "\r\n";
    }
    const url = URL.createObjectURL(new Blob([text], { type: kind === "csv" ? "text/csv;charset=utf-8" : "application/json" }));
    const anchor = make("a", { href: url, download: ["problems", state.model, state.set, state.show].filter(Boolean).join("-") + "." + kind });
    root.append(anchor);
    anchor.click();
    anchor.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  build();
  window.addEventListener("hashchange", follow);
  if (read()) follow();
  else {
    // Nothing is loaded before the reader comes near, and then one benchmark.
    state.model = index.models.length ? index.models[0].name : "";
    state.set = index.models.length ? Object.keys(index.models[0].sets)[0] : "";
    const quietly = () => refresh();
    if ("IntersectionObserver" in window) {
      const near = new IntersectionObserver((seen) => { if (seen.some((one) => one.isIntersecting)) { near.disconnect(); quietly(); } }, { rootMargin: "600px" });
      near.observe(root);
    } else quietly();
  }
})();
