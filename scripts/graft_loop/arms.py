"""The rewards that are compared."""

_BY_VALUE = ("equivalence=value",)
_VIEWS = ("--views.names", "plain,paraphrase,jpeg,brightness")

ARMS: dict[str, tuple[str, ...]] = {}
"""The flags of `ireasoner train`, by the name of the arm."""


def _arm(name: str, config: str, *overrides: str, more: tuple[str, ...] = ()) -> None:
    given = [word for override in overrides for word in ("--reward.overrides", override)]
    ARMS[name] = ("--reward.config", config, *given, *more)


_arm("answers", "paper", "lambda_max=0.0", *_BY_VALUE)
_arm("paper", "paper", *_BY_VALUE)
_arm("views", "views", more=_VIEWS)
_arm("steps-of-the-group", "robust", "lambda_schedule=constant", "lambda_max=0.5", "step_scope=group")
_arm("answers-format", "paper", "lambda_max=0.0", *_BY_VALUE, "format_penalty=0.5")
_arm("paper-format", "paper", *_BY_VALUE, "format_penalty=0.5")
_arm("views-format", "views", "format_penalty=0.5", more=_VIEWS)
