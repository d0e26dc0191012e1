"""What the reward server and the trainer are worth in figures: `make bench`, `make bench-trainer`."""

from compat.repairs import install

install()
