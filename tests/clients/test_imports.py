"""`import ireasoner.clients` loads nothing but httpx with its httpcore, the standard library and itself."""

import json
import subprocess
import sys

EVERYTHING = "import " + ", ".join(
    f"ireasoner.clients{module}"
    for module in ("", ".score", ".reward_service", ".sibling_groups", ".slime_reward")
)


def loaded_by(statement: str) -> set[str]:
    """The top-level packages that a statement loads in a fresh interpreter."""
    program = f"{statement}; import json, sys; print(json.dumps(list(sys.modules)))"
    shown = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    return {name.split(".")[0] for name in json.loads(shown.stdout)}


def test_importing_clients_loads_nothing_heavier_than_httpx() -> None:
    heavier = loaded_by(EVERYTHING) - loaded_by("import httpx, httpcore")
    assert heavier - sys.stdlib_module_names == {"ireasoner"}
