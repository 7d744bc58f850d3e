"""The narrated corpus of coloured shapes and its small speech model."""
