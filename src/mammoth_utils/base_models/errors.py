"""The error of a base model that cannot be used."""


class BaseModelError(RuntimeError):
    """A base model is missing, or is not what its files say; the message says why and what to do."""
