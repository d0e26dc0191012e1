"""What the rollouts of an update are paid."""
