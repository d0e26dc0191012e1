"""Everything that a run leaves on disk."""
