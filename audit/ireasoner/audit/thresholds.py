"""The thresholds of an audit; `signs` says where each one comes from."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """When a figure of a run is a sign.

    Attributes:
        window: Updates that are averaged; the first window is the start that others are compared with.
        entropy_share: Entropy of the answers below this share of its start.
        dominant_share: Dominant share above this.
        agreement_share: Dominant share below this share of its start.
        distinct_share: Share of distinct questions below this share of its start.
        length_share: Length below this share of its start.
        length_factor: Length above this multiple of its start.
        label_share: Accuracy of the pseudo-labels below this share of its start.
        flat_share: Share of groups without spread above this.
        flip_share: Share of repeated questions whose dominant answer flipped above this.
        near_duplicate_share: Share of near-duplicate questions above this.
        template_share: Share of template steps above this.
        length_gain_share: Share of rollouts that gain by length or step count alone above this.
        rise: Least rise over its start that a share needs, besides being above its threshold.
    """

    window: int = 20
    entropy_share: float = 0.2
    dominant_share: float = 0.97
    agreement_share: float = 0.9
    distinct_share: float = 0.2
    length_share: float = 0.4
    length_factor: float = 2.5
    label_share: float = 0.8
    flat_share: float = 0.8
    flip_share: float = 0.5
    near_duplicate_share: float = 0.8
    template_share: float = 0.5
    length_gain_share: float = 0.25
    rise: float = 0.1
