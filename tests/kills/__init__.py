"""Processes of a real run that are killed again and again."""
