"""Work-arounds for gaps in our dependencies and in the way commands are installed."""
