"""From rows of clips to batches."""
