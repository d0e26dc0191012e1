"""What `compat.torchvision_cpu.environment` puts on PYTHONPATH; Python itself runs its `sitecustomize`."""
