"""Accuracy on labelled questions."""
