"""The command `ireasoner atlas`: which label-free reward ranks right above wrong on one's own labelled rollouts."""

import asyncio
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ireasoner.reward_server import wire
from ireasoner.reward_server.commands import atlas_figures as figures
from ireasoner.reward_server.commands.atlas_groups import batches, read_groups
from ireasoner.reward_server.commands.atlas_page import Atlas, Method, as_json, as_svg, page
from ireasoner.reward_server.commands.atlas_settings import AtlasSettings
from ireasoner.reward_server.commands.command import DONE, InputError, Progress, run_command
from ireasoner.reward_server.commands.rescorer import Rescorer
from ireasoner.reward_server.errors import ServiceError
from ireasoner.reward_server.ledger.labels import Labels
from ireasoner.reward_server.scoring.registry import SHARED
from ireasoner.reward_server.scoring_config import ConfigOverrides

Truth = Mapping[str, figures.Truth]
"""Which rollouts of each labelled group are right, [N], by the group's id."""


def main(words: Sequence[str]) -> None:
    """Runs the command."""
    run_command("ireasoner atlas", AtlasSettings, _atlas, words)


def _atlas(settings: AtlasSettings) -> int:
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    configs = settings.configs_by_name()
    groups = read_groups(settings.file)
    if settings.plot is not None:
        settings.plot.open(
            "a"
        ).close()  # refused now, not after the scoring; an older picture stays until then
    atlas = asyncio.run(_scored(settings, groups, configs))
    if settings.plot is not None:
        settings.plot.write_text(as_svg(atlas), encoding="utf-8")
    print(json.dumps(as_json(atlas), indent=2, ensure_ascii=False) if settings.json_ else page(atlas))
    return DONE


async def _scored(
    settings: AtlasSettings, groups: Sequence[wire.Group], configs: Mapping[str, ConfigOverrides]
) -> Atlas:
    """Scores the groups under each config, and measures it."""
    progress = Progress()
    async with Rescorer.started(settings.server_settings()) as rescorer:
        truth = await _truth(settings, groups, rescorer)
        scored: dict[str, dict[str, Any]] = {}
        for index, (name, config) in enumerate(configs.items()):
            done = 0
            scored[name] = {}
            for batch in batches(groups):
                progress.show(f"{name}, method {index + 1} of {len(configs)}: {done} of {len(groups)} groups")
                scored[name] |= await _batch(settings, batch, config, rescorer)
                done += len(batch)
    progress.end()
    labels = {name: _by_group(found, truth, figures.label_is_true) for name, found in scored.items()}
    against = figures.differences(labels, settings.against)
    right = np.concatenate([*truth.values()])
    return Atlas(
        groups=len(truth),
        rollouts=len(right),
        accuracy=float(right.mean()),
        against=settings.against,
        methods=[
            Method(
                name=name,
                config=configs[name].model_dump(exclude_unset=True),
                above=figures.share(_by_group(found, truth, figures.right_above_wrong)),
                label=figures.share(labels[name]),
                difference=against.get(name),
                abstained=_abstained(found, truth),
            )
            for name, found in scored.items()
        ],
    )


async def _truth(settings: AtlasSettings, groups: Sequence[wire.Group], rescorer: Rescorer) -> Truth:
    """Which rollouts are right, by value: one reading for all methods."""
    config = settings.reading(ConfigOverrides(preset="empo"))
    resolved = rescorer.config(config, SHARED)
    truth: dict[str, figures.Truth] = {}
    hints = []
    labelled = [group for group in groups if group.labels]
    for batch in batches(labelled):
        for scored in await _request(settings, batch, config, rescorer):
            group = next(one for one in batch if one.id == scored["id"])
            right = Labels(group.labels or (), resolved).right(scored) or {}
            truth[group.id] = np.array(
                [
                    rollout["answer"] in right
                    for rollout, sent in zip(scored["rollouts"], group.rollouts, strict=True)
                    if sent.rewarded
                ],
                dtype=np.bool_,
            )
            hints += [scored["hint"]] if scored.get("hint") else []
    if len(hints) == len(labelled):
        raise InputError(f"{settings.file}: no rollout has an answer: {hints[0]}; see --answer-from")
    return truth


async def _batch(
    settings: AtlasSettings, groups: Sequence[wire.Group], config: ConfigOverrides, rescorer: Rescorer
) -> dict[str, Any]:
    scored = await _request(settings, groups, config, rescorer)
    return {
        group["id"]: [rollout for rollout in group["rollouts"] if rollout.get("rewarded", True)]
        for group in scored
    }


async def _request(
    settings: AtlasSettings, groups: Sequence[wire.Group], config: ConfigOverrides, rescorer: Rescorer
) -> list[Any]:
    """Scores a batch; a method without a step reward needs no embeddings, and is paid the same without them.

    A group's `voters` judge it under methods that are about other voters. Under all others it votes for itself, so that
    a file can serve both. If a batch is refused, groups that do not vote for each other are scored apart.
    """
    try:
        resolved = rescorer.config(config, SHARED)
    except ServiceError as error:
        raise InputError(f"{settings.file}: {error.code}: {error.detail}") from error
    if resolved.votes != "voters":
        groups = [group.model_copy(update={"voters": None}) for group in groups]
    try:
        request = wire.ScoreRequest.model_construct(groups=list(groups), config=config, detail="full")
        return await rescorer.request(
            "solver" if resolved.lambda_max else "outcome", request, settings.progress, SHARED
        )
    except ServiceError as error:
        apart = list(batches(groups, least=1))
        if len(apart) == 1:
            raise InputError(
                f"{settings.file}: the group {groups[0].id!r}: {error.code}: {error.detail}"
            ) from error
    return [each for linked in apart for each in await _request(settings, linked, config, rescorer)]


def _by_group(
    scored: Mapping[str, Any], truth: Truth, measure: Callable[[figures.Doubles, figures.Truth], float | None]
) -> list[float | None]:
    """A figure of each labelled group, in order."""
    return [measure(_rewards(scored[group_id]), right) for group_id, right in truth.items()]


def _rewards(rollouts: Sequence[Mapping[str, Any]]) -> figures.Doubles:
    """The rewards; none where the method abstained from all but invalid rollouts, whose 0 says nothing about it."""
    statuses = {each["status"] for each in rollouts}
    if "abstain" in statuses and "ok" not in statuses:
        return np.full(len(rollouts), np.nan)
    return np.array([np.nan if each["reward"] is None else each["reward"] for each in rollouts], np.float64)


def _abstained(scored: Mapping[str, Any], truth: Truth) -> dict[str, int]:
    """Why rollouts of labelled groups have no reward, with their number, the most frequent reason first."""
    reasons = Counter(
        str(rollout["reason"])
        for group_id in truth
        for rollout in scored[group_id]
        if rollout["status"] == "abstain"
    )
    return dict(reasons.most_common())
