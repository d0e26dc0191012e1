"""What the reward server is worth in figures: `make bench`."""
