"""One folder a system: its sizes, what it reads of a row, its model, its step. Nothing outside asks which one it is."""
