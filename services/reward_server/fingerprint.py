"""What two experiments compare to know that they were scored alike."""

import hashlib
import json

from services.reward_server.parsing import PARSER_VERSION
from services.reward_server.scoring_config import ScoringConfig


def fingerprint(config: ScoringConfig, embedder_identity: str) -> str:
    """16 hexadecimal digits that stand for the resolved config, the parser and the embedder's weights."""
    parts = {"config": config.model_dump(), "parser": PARSER_VERSION, "embedder": embedder_identity}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
