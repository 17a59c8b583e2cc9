"""Planning: memory, what fits a GPU, hours and dollars, and how far measurement and literature confirm the plan."""
