"""What a run reports about itself, and the guard against collapse."""
