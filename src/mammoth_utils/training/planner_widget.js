/* The planner's choices: shows the entry that Python wrote for them. Nothing is computed here. */
(function () {
  var root = document.getElementById(ID);
  if (!root || root.dataset.ready) return;
  root.dataset.ready = "1";
  var plans = JSON.parse(root.querySelector(".mp-data").textContent);
  var choices = [].slice.call(root.querySelectorAll("select"));
  var sentence = root.querySelector(".mp-sentence");
  var cells = [].slice.call(root.querySelectorAll("dd"));
  function show() {
    var plan = choices.reduce(function (table, choice) { return table[choice.value]; }, plans);
    root.dataset.fits = plan.fits;
    sentence.textContent = plan.sentence;
    cells.forEach(function (cell, at) {
      cell.textContent = plan.figures[at];
      cell.parentNode.hidden = plan.figures[at] === "-"; // the sentence says what to choose
    });
  }
  choices.forEach(function (choice) { choice.addEventListener("change", show); });
  show(); /* a browser that goes back keeps the choices of before */
})();
