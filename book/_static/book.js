/* Tables of the book: sorting, copying, a CSV file, the window's full width, and a sign that a table scrolls. The
   tables can be read without it; mammoth_utils.report.table_markup writes them. */
(function () {
  "use strict";

  function text(cell) { return cell.innerText === undefined ? cell.textContent : cell.innerText.trim(); }

  function grid(table) {
    return [].map.call(table.rows, function (row) {
      return [].map.call(row.cells, function (cell) { return cell.dataset.name || cell.textContent.trim(); });
    });
  }

  function csv(table) {
    return grid(table).map(function (row) {
      return row.map(function (value) {
        return /[",\n]/.test(value) ? '"' + value.replace(/"/g, '""') + '"' : value;
      }).join(",");
    }).join("\r\n") + "\r\n";
  }

  function copy(value, button) {
    var before = button.textContent;
    function say(word) {
      button.textContent = word;
      setTimeout(function () { button.textContent = before; }, 1500);
    }
    function byHand() {
      var area = document.createElement("textarea");
      area.value = value;
      document.body.appendChild(area);
      area.select();
      var done = document.execCommand("copy");
      area.remove();
      say(done ? "Copied" : "Not copied");
    }
    if (navigator.clipboard && window.isSecureContext) {
      navigator.clipboard.writeText(value).then(function () { say("Copied"); }, byHand);
    } else { byHand(); }
  }

  function save(value, name) {
    var link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(["\ufeff" + value], { type: "text/csv;charset=utf-8" }));
    link.download = name + ".csv";
    document.body.appendChild(link);
    link.click();
    link.remove();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }

  function key(cell) {
    var value = cell.textContent.trim(), number = value.replace(/−/g, "-").match(/^[+<>≤≥]?\s?-?[\d.,]+/);
    if (!value) { return null; }
    return number && cell.classList.contains("bk-num") ? parseFloat(number[0].replace(/[+<>≤≥,\s]/g, "")) : value;
  }

  function compare(a, b) {
    return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  }

  function sort(table, head, at) {
    var up = head.getAttribute("aria-sort") !== "ascending", body = table.tBodies[0];
    [].forEach.call(table.tHead.rows[0].cells, function (other) { other.removeAttribute("aria-sort"); });
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    var rows = [].map.call(body.rows, function (row) { return [key(row.cells[at]), row]; });
    rows.sort(function (a, b) {
      if (a[0] === null || b[0] === null) { return (a[0] === null) - (b[0] === null); }  // empty cells last
      return (up ? 1 : -1) * compare(a[0], b[0]);
    });
    rows.forEach(function (pair) { body.appendChild(pair[1]); });
  }

  function button(label, about, act) {
    var made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.title = about;
    made.addEventListener("click", function () { act(made); });
    return made;
  }

  function widen(figure, opener) {
    var dialog = document.createElement("dialog"), place = document.createComment("table");
    dialog.className = "bk-wide bd-article";
    dialog.setAttribute("aria-label", figure.querySelector(".bk-scroll").getAttribute("aria-label"));
    figure.parentNode.insertBefore(place, figure);
    var close = button("Close", "Back to the page", function () { dialog.close(); });
    var bar = document.createElement("div");
    bar.className = "bk-tools";
    bar.appendChild(close);
    dialog.appendChild(bar);
    dialog.appendChild(figure);
    opener.hidden = true;
    dialog.addEventListener("close", function () {
      place.parentNode.replaceChild(figure, place);
      dialog.remove();
      opener.hidden = false;
      opener.focus();
    });
    document.body.appendChild(dialog);
    dialog.showModal();
  }

  function dress(figure) {
    var box = figure.querySelector(".bk-scroll"), table = box.querySelector("table"), body = table.tBodies[0];
    if (!table.tHead || !body || figure.dataset.ready) { return; }
    figure.dataset.ready = "1";
    var caption = figure.querySelector(".bk-caption"), head = document.createElement("div");
    var name = (caption || document.querySelector("h1") || table).textContent.toLowerCase();
    name = name.replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60);
    head.className = "bk-head";
    figure.insertBefore(head, figure.firstChild);
    if (caption) { head.appendChild(caption); }
    var tools = document.createElement("div"), hint = document.createElement("span");
    tools.className = "bk-tools";
    hint.className = "bk-hint";
    tools.appendChild(hint);
    var wide = button("Full width", "Show the table over the whole window", function (made) { widen(figure, made); });
    wide.className = "bk-widen";
    tools.appendChild(wide);
    tools.appendChild(button("Copy", "Copy the table, to paste it into a sheet", function (made) {
      copy(grid(table).map(function (row) { return row.join("\t"); }).join("\n"), made);
    }));
    tools.appendChild(button("CSV", "Save the table as a CSV file", function () { save(csv(table), name); }));
    head.appendChild(tools);
    if (body.rows.length > 2) {
      [].forEach.call(table.tHead.rows[0].cells, function (cell, at) {
        var label = cell.textContent.trim();
        if (!label) { return; }
        var sorter = button("", "Sort by " + label, function () { sort(table, cell, at); });
        cell.dataset.name = label;
        while (cell.firstChild) { sorter.appendChild(cell.firstChild); }
        cell.appendChild(sorter);
      });
    }
    function measure() {
      var more = box.scrollWidth > box.clientWidth + 1 && getComputedStyle(box).overflowX !== "visible";
      wide.style.display = more && typeof HTMLDialogElement === "function" ? "" : "none";
      var taller = box.scrollHeight > box.clientHeight + 1 && getComputedStyle(box).overflowY !== "visible";
      hint.textContent = more ? "scroll sideways →" : taller ? "scroll ↓" : "";
      if (more || taller) { box.setAttribute("tabindex", "0"); } else { box.removeAttribute("tabindex"); }
    }
    measure();
    if (window.ResizeObserver) { new ResizeObserver(measure).observe(box); }
  }

  // Under a result the search quotes its page, which a browser does not let it fetch from a disk.
  if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
    DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
  }

  // The panel of a page's sections closes where a section is chosen.
  function closePanels() {
    [].forEach.call(document.querySelectorAll("dialog[id$=sidebar-modal]"), function (panel) {
      panel.addEventListener("click", function (event) {
        var link = event.target.closest("a[href^='#']");
        if (!link) { return; }
        event.preventDefault();
        panel.close();
        location.hash = link.hash;
      });
    });
  }

  // Where there is no pointer to hover with, the first tap on a term shows its definition, the second one leads to it.
  function touchTerms() {
    var shown = null, byTouch = false;
    document.addEventListener("pointerdown", function (event) { byTouch = event.pointerType === "touch"; });
    document.addEventListener("click", function (event) {
      var term = event.target.closest("a.glossary-term");
      if (byTouch && term && term !== shown) { event.preventDefault(); } else { term = null; }
      if (shown) { shown.classList.remove("bk-shown"); }
      shown = term;
      if (shown) { shown.classList.add("bk-shown"); }
    });
  }

  // Two themes to switch between: the theme's own third one, the system's, looks like one of them.
  function switchTheme(event) {
    var page = document.documentElement.dataset, other = page.theme === "dark" ? "light" : "dark";
    if (!event.target.closest(".theme-switch-button")) { return; }
    event.stopImmediatePropagation();
    page.theme = page.mode = other;
    try {
      localStorage.setItem("mode", other);
      localStorage.setItem("theme", other);
    } catch (error) { /* A browser that keeps nothing still switches. */ }
  }

  function start() {
    closePanels();
    touchTerms();
    document.addEventListener("click", switchTheme, true);
    [].forEach.call(document.querySelectorAll("figure.bk-table:not(.bk-plain)"), dress);
    [].forEach.call(document.querySelectorAll("[data-copies]"), function (made) {
      made.hidden = false;
      made.addEventListener("click", function () { copy(text(document.getElementById(made.dataset.copies)), made); });
    });
  }

  if (document.readyState === "loading") { document.addEventListener("DOMContentLoaded", start); } else { start(); }
})();
