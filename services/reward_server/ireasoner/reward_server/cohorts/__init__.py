"""Cohorts: callers that post one rollout each and are scored as one group."""
