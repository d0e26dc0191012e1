"""What the first machine with a GPU should show: `python -m scripts.gpu_check`, in a checkout, without a network.

Nothing of this project need be installed: the sources of the checkout are used.
"""

import sys
from pathlib import Path

from scripts.gpu_check import settings_stand_in

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "digit-grids"

_SOURCES = [
    str(each.parent) for pattern in ("*/ireasoner", "services/*/ireasoner") for each in ROOT.glob(pattern)
]
sys.path[:0] = [each for each in _SOURCES if each not in sys.path]

settings_stand_in.install()

from ireasoner.compat import repairs  # noqa: E402  from the sources of the checkout

repairs.install()  # before transformers is imported: with a CPU build of torch, it needs torchvision's operators
