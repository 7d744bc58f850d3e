"""Checkpoints as files for others."""
