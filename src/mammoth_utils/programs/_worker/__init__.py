"""What runs inside of a worker: confinement of its processes, the run of one program, and cleaning up after it."""
