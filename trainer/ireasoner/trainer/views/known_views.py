"""The views that a setting can name."""

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random

from PIL import Image

from ireasoner.compat.spelling import did_you_mean
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.images import read_image
from ireasoner.trainer.rewards.named_function import named_function
from ireasoner.trainer.views.contrasts import blank, foreign
from ireasoner.trainer.views.image_views import brightness, crop, jpeg, pad, resize
from ireasoner.trainer.views.mirror import mirror
from ireasoner.trainer.views.quarter_turn import quarter_turn
from ireasoner.trainer.views.question_views import option_order, same
from ireasoner.trainer.views.view import Form, Transform, View, drawn

PLAIN = View("plain", same)
"""The question as it was asked; it takes the place of a view that does not apply to it."""


def _of_image(change: Callable[[Image.Image, Random], Image.Image]) -> Transform:
    """A view that changes the image alone."""

    def transform(picture: Image.Image, question: str, seed: int, index: int) -> Form:
        return change(picture, drawn(seed, change.__name__, index)), question, None

    return transform


VIEWS: Mapping[str, View] = {
    view.source: view
    for view in (
        PLAIN,
        *(View(change.__name__, _of_image(change)) for change in (resize, pad, jpeg, crop, brightness)),
        View("option_order", option_order),
        View("paraphrase", same, rewords=True),
        View("mirror", mirror),
        View("quarter_turn", quarter_turn),
    )
}
"""Our own views by name."""
_ALWAYS_EQUAL = frozenset(("plain", "mirror", "quarter_turn"))
_CONTRASTS = ("blank", "foreign")


def named_views(names: Sequence[str]) -> list[View]:
    """The views of the setting `views.names`, in order.

    Raises:
        SettingsError: There is no such view, or a view is repeated that is the same each time.
    """
    seen: Counter[str] = Counter()
    views = []
    for name in names:
        if seen[name] and name in _ALWAYS_EQUAL:
            raise SettingsError(f"views.names: {name} is the same each time: name it once")
        rewords = name in VIEWS and VIEWS[name].rewords
        views.append(View(name, _transform("views.names", name, tuple(VIEWS)), seen[name], rewords))
        seen[name] += 1
    return views


def named_contrast(
    name: str | None, paths: Sequence[Path] = (), read: Callable[[Path], Image.Image] = read_image
) -> View | None:
    """The view of the setting `views.contrast`; None without one.

    Args:
        name: Its name.
        paths: The images of the run, from which `foreign` takes one.
        read: Reads the image of a path.

    Raises:
        SettingsError: There is no such view.
    """
    if name is None:
        return None
    if name == "foreign":
        return View(name, foreign(paths, read))
    return View(name, blank if name == "blank" else _transform("views.contrast", name, _CONTRASTS))


def _transform(setting: str, name: str, known: Sequence[str]) -> Transform:
    """The transform of our own view, or the function of the user's `module:function`."""
    if name in known:
        return VIEWS[name].transform
    if ":" not in name:
        raise SettingsError(
            f"{setting}: there is no view {name!r}{did_you_mean(name, known)}; the views are {', '.join(known)}, or "
            "module:function of your own"
        )
    try:
        function: Transform = named_function(name)
        inspect.signature(function).bind(None, "", 0, 0)
    except SettingsError as error:
        raise SettingsError(f"{setting}: {error}") from error
    except TypeError as error:
        raise SettingsError(
            f"{setting}: {name} must take four arguments (image, question, seed, index): {error}"
        ) from error
    return _on_a_copy(function)


def _on_a_copy(function: Transform) -> Transform:
    """The user's function, which may draw on the image that it gets: other views show it, too."""

    def transform(picture: Image.Image, question: str, seed: int, index: int) -> Form | None:
        return function(picture.copy(), question, seed, index)

    return transform
