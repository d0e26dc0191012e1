"""The folder that `ireasoner.compat.repairs.environment` puts on PYTHONPATH; Python runs its `sitecustomize`."""
