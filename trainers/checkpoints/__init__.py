"""What a run writes down, and reads again."""
