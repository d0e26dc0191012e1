"""The Proposer-Solver loop on TRL's GRPO."""
