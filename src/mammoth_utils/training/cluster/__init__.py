"""Several devices and nodes: launching, errors of other machines, and the progress that a page shows."""
