"""The rollout server: a launcher for vLLM's own OpenAI-compatible server."""
