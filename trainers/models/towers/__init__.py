"""Encoders of video and of text."""
