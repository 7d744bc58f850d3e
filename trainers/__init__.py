"""Shards to a model."""
