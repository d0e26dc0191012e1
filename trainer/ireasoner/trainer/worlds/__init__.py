"""Worlds of pictures and questions whose answers are known."""
