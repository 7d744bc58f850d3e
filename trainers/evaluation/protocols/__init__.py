"""One protocol a file: its settings, what it collects, its numbers. Rows of the table in `trainers.kinds`."""
