"""A folder that spoils every import from the current folder."""

from pathlib import Path

_PACKAGES = ("audit", "clients", "compat", "ireasoner", "services", "trainer", "vllm")
_MODULES = ("json", "signal", "torch", "transformers")


def write_traps(folder: Path) -> Path:
    """Writes packages and modules that raise when they are imported; returns the folder."""
    spoiled = 'raise RuntimeError(f"{__name__} was imported from the current folder")\n'
    for package in _PACKAGES:
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(spoiled)
    for module in _MODULES:
        (folder / f"{module}.py").write_text(spoiled)
    return folder
