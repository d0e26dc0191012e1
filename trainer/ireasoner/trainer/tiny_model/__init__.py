"""Tiny vision-language models that are wrong on purpose: their tasks, warm start and scores."""
