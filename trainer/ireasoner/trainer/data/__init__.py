"""Tables of rows, as people have them: datasets of the hub, parquet, JSON lines, tars; read through `datasets`."""

from ireasoner.trainer.data.address import Kind, kind_of, refuse_unused
from ireasoner.trainer.data.dataset import Rows, open_rows
from ireasoner.trainer.data.identity import Identity
from ireasoner.trainer.data.row_files import RowFiles

__all__ = ["Identity", "Kind", "RowFiles", "Rows", "kind_of", "open_rows", "refuse_unused"]
