"""`python -m trainer` is the command `ireasoner`."""

from trainer.cli import main

if __name__ == "__main__":
    main()
