"""Installs the work-around as Python starts, then runs the `sitecustomize` it hides."""

import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_here = Path(__file__).resolve().parent

# By path: `compat` itself need not be importable in the processes that inherit PYTHONPATH.
_spec = spec_from_file_location("_ireasoner_torchvision_cpu", _here.parent / "torchvision_cpu.py")
if _spec is not None and _spec.loader is not None:
    _module = module_from_spec(_spec)
    _spec.loader.exec_module(_module)
    _module.install()

_hidden = PathFinder.find_spec("sitecustomize", [p for p in sys.path if Path(p).resolve() != _here])
if _hidden is not None and _hidden.loader is not None:
    _hidden.loader.exec_module(module_from_spec(_hidden))
