"""The trainer: the Proposer-Solver loop on TRL's GRPO, against both servers over HTTP."""
