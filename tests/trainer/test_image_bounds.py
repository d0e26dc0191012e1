"""A rollout server that scales images otherwise than the trainer is found before a run starts."""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from PIL import Image

from ireasoner.trainer.adapters.backbone import load_processor
from ireasoner.trainer.errors import RolloutRequestRefused, SettingsError
from ireasoner.trainer.images import ImageFolder
from ireasoner.trainer.loop.image_bounds import check_image_bounds
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.rollouts.rollout import RolloutRequest
from tests.conftest import MODEL

TOKEN_PX = 28 * 28


class Server:
    """A rollout server with its own bounds."""

    base_url = "http://server"

    def __init__(self, **bounds: int) -> None:
        self._processor = load_processor(str(MODEL), **bounds)

    def models(self) -> list[str]:
        return ["base"]

    def sample(self, policy: str, requests: list[RolloutRequest], _: object) -> list[list[Any]]:
        assert policy == "base"
        text = self._processor.apply_chat_template(
            requests[0].messages, tokenize=False, add_generation_prompt=True
        )
        picture = Image.open(BytesIO(requests[0].image_png or b""))
        return [
            [
                SimpleNamespace(
                    prompt_token_ids=self._processor(images=[[picture]], text=[text])["input_ids"][0]
                )
            ]
        ]


def check(tmp_path: Path, sizes: list[tuple[int, int]], server: Server) -> None:
    for index, size in enumerate(sizes):
        Image.new("RGB", size).save(tmp_path / f"{index}.png")
    own = load_processor(str(MODEL), min_pixels=TOKEN_PX, max_pixels=20 * TOKEN_PX)
    servers = [Server(min_pixels=TOKEN_PX, max_pixels=20 * TOKEN_PX), server]
    check_image_bounds(
        ImageFolder.scan(tmp_path), own, cast(RolloutReplicas, SimpleNamespace(members=servers))
    )


@pytest.mark.parametrize(
    ("sizes", "bounds"),
    [
        ([(56, 56), (1000, 900), (84, 84)], {"min_pixels": TOKEN_PX, "max_pixels": 15 * TOKEN_PX}),
        ([(56, 56), (1000, 900), (84, 84)], {"min_pixels": TOKEN_PX, "max_pixels": 100 * TOKEN_PX}),
        ([(10, 10), (84, 84)], {"min_pixels": 4 * TOKEN_PX, "max_pixels": 20 * TOKEN_PX}),
        ([(84, 84)], {"min_pixels": 16 * TOKEN_PX, "max_pixels": 20 * TOKEN_PX}),
    ],
)
def test_other_bounds_are_refused_with_the_flags_that_the_server_needs(
    sizes: list[tuple[int, int]], bounds: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"bounds differ. .* --min-pixels 784 --max-pixels 15680$"):
        check(tmp_path, sizes, Server(**bounds))


@pytest.mark.parametrize("sizes", [[(84, 84)], [(56, 56), (112, 84)]])
def test_bounds_that_differ_beyond_every_image_are_no_matter(
    sizes: list[tuple[int, int]], tmp_path: Path
) -> None:
    check(tmp_path, sizes, Server(min_pixels=2 * TOKEN_PX, max_pixels=30 * TOKEN_PX))


class Short(Server):
    """A rollout server with a context that is too short for the image."""

    def sample(self, policy: str, requests: list[RolloutRequest], _: object) -> list[list[Any]]:
        raise RolloutRequestRefused("POST u: 400 This model's maximum context length is 8192 tokens")


def test_a_refused_image_is_answered_with_the_flags_that_the_server_needs(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError,
        match=r"server refuses a prompt with an image of 1000 x 900 pixels, which has \d+ tokens in the trainer\. "
        r"Start .* --min-pixels 784 --max-pixels 15680 \(.*maximum context length",
    ):
        check(tmp_path, [(1000, 900)], Short())
