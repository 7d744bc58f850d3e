"""Metrics as pure functions of embeddings and logits."""
