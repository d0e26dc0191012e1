"""Groups of rollouts, and the clients that sample them."""
