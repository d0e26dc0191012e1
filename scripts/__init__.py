"""Commands for developers; none is installed."""
