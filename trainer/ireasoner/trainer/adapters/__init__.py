"""The two adapters on one backbone, and how they reach the rollout server."""
