"""What protocols collect, under Ray Data."""
