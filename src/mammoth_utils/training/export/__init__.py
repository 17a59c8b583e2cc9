"""The export of a trained model: saving, verifying, merging adapters, model cards, and publishing."""
