"""Steps from a medium to clips: plain callables, free of Ray."""
