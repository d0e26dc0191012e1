"""Cohorts: callers that post one rollout each and are scored together as one group."""
