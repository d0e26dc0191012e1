"""The two adapters on one backbone, and their publication to the rollout server."""
