"""When programs may share an interpreter: the static check, and the interpreter that they share."""
