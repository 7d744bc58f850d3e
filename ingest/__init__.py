"""Raw archives to train-ready shards."""
