"""The page of the check, from its JSON."""

from pathlib import Path
from typing import Any

_HEAD = Path(__file__).with_name("head.md").read_text()


def page(document: dict[str, Any] | None) -> str:
    """The page; without a document it says that there are no figures."""
    if document is None:
        return _HEAD + "The check has not been run on a GPU yet.\n"
    found = ", ".join(f"{name} {each}" for name, each in document["packages"].items() if each)
    missing = ", ".join(name for name, each in document["packages"].items() if not each)
    lines = [
        f"{document['device']}, {document['date']}, {document['seconds']:.0f} s. Python {document['python']}, {found}."
        + (f" Missing: {missing}." if missing else ""),
        "",
        f"Rollouts of the loop are sampled by {document['sampling']}.",
        "",
        "| part | passed | figures |",
        "|---|---|---|",
        *(
            f"| {name} | {'yes' if part['passed'] else 'no'} | {_figures(part)} |"
            for name, part in document["parts"].items()
        ),
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _figures(part: dict[str, Any]) -> str:
    if "error" in part:
        return str(part["error"]).replace("|", "\\|")
    if "steps_per_s" in part:
        speeds = ", ".join(f"{name} {speed:,.0f}" for name, speed in part["steps_per_s"].items())
        apart = max(part["largest_difference"].values())
        return f"{part['weights']}; largest difference {apart:.2g}; steps/s: {speeds}"
    if "relative_difference" in part:
        return f"relative difference {part['relative_difference']:.2g}"
    updates = ", ".join(
        f"{each['role']} {each['seconds']:.1f} s"
        + (f", peak {each['peak_gib']:.1f} GiB" if each["peak_gib"] else "")
        for each in part["updates"]
    )
    sampled = f"; {part['tokens_per_s']:,.0f} tokens/s sampled" if "tokens_per_s" in part else ""
    return (
        f"{updates}; estimated {part['estimate_gib']:.1f} GiB; log-probabilities "
        f"{part['logprob_gap_nats']:.2g} nats apart{sampled}"
    )
