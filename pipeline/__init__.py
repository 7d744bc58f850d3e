"""What a user runs: the command line, the run from raw files to a report, recipes, the demo."""
