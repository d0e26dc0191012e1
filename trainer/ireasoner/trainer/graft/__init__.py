"""Gives a language model eyes: a small vision tower that outputs the model's own embeddings, and a warm start."""
