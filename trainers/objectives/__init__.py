"""One objective, one file, one idea."""
