"""The training loop: data, model, trainer, checkpoints, and the checks that stop a run before it trains a mistake."""
