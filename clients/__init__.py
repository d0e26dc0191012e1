"""Clients of the reward server; importing this package loads nothing heavier than httpx."""
