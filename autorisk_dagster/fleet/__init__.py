"""More than one process: which deployment runs, its executor, launcher and workers, and runs whose process died."""
