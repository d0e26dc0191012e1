"""Parts of a page that are generated, between `<!-- NAME: generated -->` and `<!-- NAME: end -->`."""

from collections.abc import Mapping


def filled_in(text: str, found: Mapping[str, str]) -> str:
    """A page with its generated parts brought up to date.

    Raises:
        ValueError: The page lacks the marks of a part.
    """
    for name, part in found.items():
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        before, found_begin, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found_begin or not found_end:
            raise ValueError(f"the page has no {begin} with an {end} after it")
        text = f"{before}{begin}\n\n{part}\n\n{end}{after}"
    return text
