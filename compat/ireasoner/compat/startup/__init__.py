"""What `ireasoner.compat.repairs.environment` puts on PYTHONPATH; Python itself runs its `sitecustomize`."""
