"""Installs the repairs when Python starts, then runs the `sitecustomize` that this one hides."""

import sys
from importlib import import_module
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

_here = Path(__file__).resolve().parent

# Loaded by path, because `ireasoner.compat` need not be importable in processes that inherit PYTHONPATH.
_package = _here.parent
_spec = spec_from_file_location(
    "_ireasoner_compat", _package / "__init__.py", submodule_search_locations=[str(_package)]
)
if _spec is not None and _spec.loader is not None:
    _module = module_from_spec(_spec)
    sys.modules[_module.__name__] = _module
    _spec.loader.exec_module(_module)
    import_module(f"{_module.__name__}.repairs").install()

_hidden = PathFinder.find_spec("sitecustomize", [p for p in sys.path if Path(p).resolve() != _here])
if _hidden is not None and _hidden.loader is not None:
    _hidden.loader.exec_module(module_from_spec(_hidden))
