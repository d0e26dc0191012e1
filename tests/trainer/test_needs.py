"""What a scoring config needs is read from its fields, never from its name."""

from pathlib import Path
from typing import Any

import pytest

from ireasoner.reward_server.scoring_config import PRESETS
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.rewards.needs import NOTHING, Needs
from ireasoner.trainer.settings import RunSettings

OF_PRESETS = {
    "self-certainty": Needs(frozenset({"self_certainty"})),
    "entropy-minimisation": Needs(frozenset({"mean_token_entropy"})),
    "sequence-probability": Needs(frozenset({"sum_logprob"})),
    "co-rewarding": Needs(voters=True),
    "judge-bounded": Needs(frozenset({"judge"}), one_prompt=True),
    "views": Needs(views=True),
}


def settings(*views: str, **reward: Any) -> RunSettings:
    """A run with these views and settings of its reward."""
    return RunSettings(
        model="model",
        images=Path("images"),
        run_folder=Path("run"),
        group_size=4,
        views={"names": views},
        reward=reward,
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_the_needs_of_every_preset(preset: str) -> None:
    assert Needs.of(PRESETS[preset].model_dump()) == OF_PRESETS.get(preset, Needs(one_prompt=True))


@pytest.mark.parametrize(
    ("fields", "needs"),
    [
        ({}, NOTHING),  # a server of wire 2.1
        ({"outcome": "signal", "signal": "mean_logprob"}, Needs(frozenset({"mean_logprob"}))),
        ({"outcome": "signal", "signal": "judge"}, Needs(frozenset({"judge"}))),
        # A paid signal reads neither votes nor a judge's factor.
        (
            {"outcome": "signal", "signal": "tokens", "votes": "voters", "judge": "bounded"},
            Needs(frozenset({"tokens"})),
        ),
        ({"outcome": "share", "signal": "self_certainty"}, NOTHING),
        ({"votes": "voters", "judge": "bounded"}, Needs(frozenset({"judge"}), voters=True)),
        ({"votes": "cross"}, Needs(views=True)),
        ({"votes": "pooled", "judge": "off"}, NOTHING),
    ],
)
def test_the_needs_of_overrides(fields: dict[str, Any], needs: Needs) -> None:
    assert Needs.of(fields) == needs


@pytest.mark.parametrize(
    ("names", "figures", "of_policy", "judge"),
    [
        (["self_certainty"], ("self_certainty",), ("self_certainty",), False),
        (["sum_logprob"], (), ("sum_logprob",), False),
        (["mean_logprob"], (), ("mean_logprob",), False),
        (["judge"], (), (), True),
        ([], (), (), False),
    ],
)
def test_only_some_signals_need_whole_distributions(
    names: list[str], figures: tuple[str, ...], of_policy: tuple[str, ...], judge: bool
) -> None:
    needs = Needs(frozenset(names))
    assert (needs.figures, needs.of_policy, needs.judge) == (figures, of_policy, judge)


@pytest.mark.parametrize(
    ("needs", "voters"),
    [
        (NOTHING, "none"),
        (Needs(voters=True), "paraphrase"),
        (Needs(voters=True), "teacher"),
        (Needs(frozenset({"judge"})), "none"),
        (Needs(frozenset({"tokens"})), "none"),
        (Needs(views=True), "none"),
    ],
)
def test_settings_that_give_what_is_needed(needs: Needs, voters: Any) -> None:
    needs.check(settings("plain", "mirror", voters=voters))


@pytest.mark.parametrize(
    ("needs", "voters", "message"),
    [
        (Needs(voters=True), "none", "set it to paraphrase or teacher"),
        (NOTHING, "paraphrase", 'or votes = "voters" in reward.overrides'),
        (Needs(frozenset({"self_certainty"})), "teacher", "does not use the votes of another group"),
        (
            Needs(frozenset({"my_own"})),
            "none",
            "'my_own', which the trainer does not make; it makes tokens, ",
        ),
        (Needs(frozenset({"judge_2"})), "none", "'judge_2', which the trainer does not make"),
    ],
)
def test_settings_that_do_not(needs: Needs, voters: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        needs.check(settings(voters=voters))


@pytest.mark.parametrize("names", [(), ("mirror",)])
def test_views_that_judge_each_other_are_two_or_more(names: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match=f"^views.names: .* two views or more, and has {len(names)}$"):
        Needs(views=True).check(settings(*names))


@pytest.mark.parametrize("needs", [Needs(one_prompt=True), Needs(frozenset({"judge"}), one_prompt=True)])
def test_views_that_would_only_judge_themselves_are_refused(needs: Needs) -> None:
    for name in ("plain", "mirror"):
        needs.check(settings(name))
    needs.check(settings())
    several: list[tuple[str, ...]] = [
        ("plain", "mirror"),
        ("jpeg", "jpeg"),
        ("plain", "mirror", "jpeg", "crop"),
    ]
    for names in several:
        with pytest.raises(SettingsError, match=f'^views.names: .* each of the {len(names)} views .*"cross"'):
            needs.check(settings(*names))


@pytest.mark.parametrize("votes", ["pooled", "cross"])
def test_votes_over_views_take_two_of_them(votes: str) -> None:
    Needs.of({**PRESETS["ttrl"].model_dump(), "votes": votes}).check(settings("plain", "jpeg"))
