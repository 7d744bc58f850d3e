"""Towers, heads, tokenizers and weights; they know nothing of objectives or training."""
