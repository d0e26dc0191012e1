"""Speed and memory of the reward server and the trainer: `make bench` and `make bench-trainer`."""

from ireasoner.compat.repairs import install

install()
