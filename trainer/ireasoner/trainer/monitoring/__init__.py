"""What a run reports about itself, and the guard that stops it."""
