"""Tiny vision-language models that are wrong on purpose: their tasks, their warm start, and what they score."""
