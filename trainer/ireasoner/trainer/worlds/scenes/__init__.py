"""Rendered scenes: shapes in a grid, bar charts, or one shape; generated questions with true first steps."""
