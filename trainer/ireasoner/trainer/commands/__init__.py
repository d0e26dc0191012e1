"""The subcommands of `ireasoner` that belong to the trainer."""
