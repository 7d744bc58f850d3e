"""One file per system; a function returns one complete recipe."""
