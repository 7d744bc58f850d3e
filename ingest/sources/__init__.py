"""Where media come from: one published layout a file."""
