"""Scores of weights by the protocols of a recipe."""
