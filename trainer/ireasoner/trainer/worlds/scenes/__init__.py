"""Rendered scenes: shapes in a grid, bar charts, one shape alone; questions from a program, with their gold steps."""
