"""The reward server: scores groups of rollouts by their agreement with themselves."""
