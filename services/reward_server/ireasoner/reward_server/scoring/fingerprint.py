"""The fingerprint that shows whether two experiments were scored in the same way."""

import hashlib
import json
from functools import lru_cache
from importlib.metadata import version

from ireasoner.reward_server.agreement.formulas import FORMULAS_VERSION
from ireasoner.reward_server.agreement.outcomes import METHODS_VERSION
from ireasoner.reward_server.answers.equivalence import EQUIVALENCE_VERSION
from ireasoner.reward_server.parsing.rollout import PARSER_VERSION
from ireasoner.reward_server.parsing.sentences import SENTENCES_VERSION
from ireasoner.reward_server.scoring_config import LATER_FIELDS, ScoringConfig

FORMULA_LIBRARIES = ("mpmath", "sympy")
"""They decide which formulas are equal, so their versions count if answers are compared by value."""


def all_versions() -> dict[str, str]:
    """The versions of all code that defines what a reward means, under whatever config."""
    by_value = {"equivalence": EQUIVALENCE_VERSION, **{name: version(name) for name in FORMULA_LIBRARIES}}
    return {
        "parser": PARSER_VERSION,
        "sentences": SENTENCES_VERSION,
        "formulas": FORMULAS_VERSION,
        "methods": METHODS_VERSION,
        **by_value,
    }


def versions(config: ScoringConfig) -> dict[str, str]:
    """The versions of all code that defines what a reward under `config` means."""
    known = all_versions()
    if config.equivalence != "value":
        for name in ("equivalence", *FORMULA_LIBRARIES):
            del known[name]
    if not config.later_fields:
        del known["methods"]
    return known


@lru_cache(maxsize=1_024)
def fingerprint(config: ScoringConfig, embedder_identity: str) -> str:
    """16 hexadecimal digits: a hash of the resolved config, the versions behind it and the embedder's identity."""
    fields = {**config.model_dump(exclude=set(LATER_FIELDS)), **config.later_fields}
    parts = {"config": fields, "versions": versions(config), "embedder": embedder_identity}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
