"""Public checkpoints onto our parameters: one origin a file."""
