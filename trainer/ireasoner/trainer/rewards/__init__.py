"""The rewards of an update's rollouts, and what measures them."""
