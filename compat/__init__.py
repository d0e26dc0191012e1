"""Work-arounds for gaps in packages that we depend on; each does nothing where the gap is closed."""
