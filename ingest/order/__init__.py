"""Which clips are read, in which order, from which position."""
