"""Texts in, unit vectors out: one queue, and the models behind it."""
