"""The command `ireasoner`, which hands over to the part that a subcommand belongs to."""
