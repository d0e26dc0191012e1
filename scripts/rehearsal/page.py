"""The page of the rehearsal, from its JSON."""

from pathlib import Path
from typing import Any

_HEAD, _MENDED = (Path(__file__).with_name(name).read_text() for name in ("head.md", "mended.md"))
_MIB = 2**20
ALL_AT_ONCE = "all at once"
"""All processes of the rehearsal; those that map the same file share its memory, so mapped files are not added up."""


def page(document: dict[str, Any] | None) -> str:
    """The page; without a document it says that there are no figures."""
    if document is None:
        return _HEAD + "The rehearsal has not been run as a whole yet.\n" + _MENDED
    size, measured = document["size"], document["measured"]
    photos = ", ".join(f"{area:g}" for area in size["megapixels"])
    lines = [
        f"{document['processor']}, {document['cores']} cores, {document['date']}, "
        f"{document['seconds'] / 60:.0f} minutes. {document['parameters']:,} parameters, "
        f"{size['layers']} layers of the language model and {size['vision_layers']} of the vision tower, "
        f"{size['vocabulary']:,} words.",
        "",
        f"Size: photos of {photos} megapixels, scaled to {size['image_tokens']:,} image tokens; N = "
        f"{size['group_size']}, one group per update, {size['micro_batch_size']} per micro-batch"
        f"{', gradient checkpointing' if size['gradient_checkpointing'] else ''}; at most "
        f"{size['solver_max_tokens']} new tokens of an answer and {size['proposer_max_tokens']} of a question; a "
        f"context of {size['context_tokens']:,} tokens.",
        "",
        "| process | peak of memory, GiB | without mapped files, GiB | estimated by `--dry-run`, GiB |",
        "|---|---|---|---|",
        *(
            f"| {name} | {'' if name == ALL_AT_ONCE else f'{peak:.2f}'} | {measured['peak_anonymous_gib'][name]:.2f} | "
            f"{_estimate(name, measured)} |"
            for name, peak in measured["peak_gib"].items()
        ),
        "",
        "| update | role | rollouts trained | tokens, mean | seconds | canary gap, nats | gap of log-probabilities, "
        "mean and largest, nats | entropy, nats |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(update) for update in measured["updates"]),
        "",
        "| part | seconds |",
        "|---|---|",
        *(f"| {part} | {seconds:,.0f} |" for part, seconds in measured["seconds"].items()),
        "",
        "Sizes: "
        + ", ".join(f"{name} {size_bytes / _MIB:,.0f} MiB" for name, size_bytes in measured["bytes"].items())
        + ".",
    ]
    return _HEAD + "\n".join(lines) + "\n" + _MENDED


def _estimate(name: str, measured: dict[str, Any]) -> str:
    if name != "trainer":
        return ""
    estimate, peak = measured["estimate_gib"], measured["peak_gib"][name]
    return f"{estimate:.2f} ({(estimate / peak - 1):+.0%})"


def _row(update: dict[str, Any]) -> str:
    """An update; what it lacks, since nothing was trained, is a dash."""

    def shown(name: str, form: str) -> str:
        return "-" if update[name] is None else format(update[name], form)

    cells = [
        str(update["update"]),
        update["role"],
        shown("rollouts_trained", ".0f"),
        shown("tokens", ".0f"),
        shown("step_s", ",.0f"),
        shown("canary_gap_nats", ".2g"),
        f"{shown('logprob_gap_nats', '.2g')}, {shown('largest_logprob_gap_nats', '.2g')}",
        shown("entropy_nats", ".2f"),
    ]
    return f"| {' | '.join(cells)} |"
