"""Work-arounds for gaps in packages that we depend on, and in how commands are installed."""
