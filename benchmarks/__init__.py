"""What the reward server and the trainer are worth in figures: `make bench`, `make bench-trainer`."""

from ireasoner.compat.repairs import install

install()
