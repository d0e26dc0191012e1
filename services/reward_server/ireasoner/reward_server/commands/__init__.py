"""Commands of `ireasoner` that work on ledgers."""
