"""Speech to timed utterances: one engine a file."""
