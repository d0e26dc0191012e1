"""Gives a language model eyes: a small vision tower that speaks in the model's own embeddings, and a warm start."""
