"""The colours of figures and cards: each has a contrast of 3 or more on white and on the dark page's background."""

from __future__ import annotations

from mammoth_utils.report.claims import CANNOT_TELL, NO_DIFFERENCE, NOT_MEASURED, NOT_REPRODUCED, REPRODUCED

# Methods: Okabe and Ito's hues, which the colour-blind tell apart.
METHODS = {
    "hybrid": "#0072B2", "pot": "#D55E00", "cot": "#009E73", "none": "#7F7F7F", "coder": "#CC79A7",
    "unfiltered": "#B07800", "paper": "#4F95C6",
}  # fmt: skip
# Other colours than any method's, so that a verdict is not read as a model.
VERDICTS = {
    REPRODUCED: "#6C5CE7", NOT_REPRODUCED: "#C2386F", NO_DIFFERENCE: "#2B8F83", CANNOT_TELL: "#857F1E",
    NOT_MEASURED: "#7A7A7A",
}  # fmt: skip
# Lighter in the dark theme: book.css sets these names there.
THEMED = {"#0072B2": "--bk-blue", "#6C5CE7": "--bk-violet", "#C2386F": "--bk-magenta"}
# Parts of memory, next to each other in a bar; edges of the page's colour part them.
MEMORY = {
    "weights": "#6C5CE7", "gradients": "#4F95C6", "optimiser": "#2B8F83", "activations": "#B07800",
    "logits": "#D1495B", "extra": "#7F7F7F", "loading": "#A65FB0",
}  # fmt: skip
METHODS_OF_TRAINING = {"full": "#6C5CE7", "lora": "#D1495B", "qlora": "#2B8F83"}


def themed(colour: str) -> str:
    """Return a colour as CSS that the book's theme may change."""
    return f"var({THEMED[colour]}, {colour})" if colour in THEMED else colour
