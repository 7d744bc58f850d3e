"""Shards, ledger and quarantine on any object store."""
