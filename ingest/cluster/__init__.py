"""Ingest and its stores under Ray Data."""
