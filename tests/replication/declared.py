"""The arms that a committed table can have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from replication import atlas
from replication.arms import Arm
from replication.studies import TABLE_AND_STUDIES


def declared_for(folder: Path, document: Mapping[str, Any]) -> Mapping[str, Arm]:
    """The arms by name: those of the atlas are presets as they are today, others those of the table and the studies."""
    return atlas.declared(document["task"]) if folder.parent.name == "atlas" else TABLE_AND_STUDIES
