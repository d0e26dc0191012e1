"""The embedded default: grids of handwritten digits, and the tiny model that reads them."""
