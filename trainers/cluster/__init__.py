"""The loop under Ray Train."""
