"""The rollout server: a launcher of vLLM's own OpenAI-compatible server."""
