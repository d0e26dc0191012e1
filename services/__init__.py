"""The two services: each folder is one process, and neither knows the other."""
