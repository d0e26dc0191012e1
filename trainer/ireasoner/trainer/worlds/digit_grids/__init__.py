"""The demo's world: grids of handwritten digits, and sums over them."""
