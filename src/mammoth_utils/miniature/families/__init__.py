"""The problem families of the miniature world, a decorated function each."""
