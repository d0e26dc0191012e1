"""From the groups of a request to their scores."""
