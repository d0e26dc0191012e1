"""What a rollout's text says: its answer, its steps and its length."""
