"""The subcommands of `ireasoner` that need the reward server's extra alone."""
