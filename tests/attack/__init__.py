"""Attacks on the reward server: what one caller can do to it and to other callers."""
