"""infinity and fastembed, in the environment that `make bench` makes for them, compute what we compute."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.peer_processes import OurEmbeddings
from benchmarks.peers import Race, Work, starts_elsewhere
from benchmarks.runtimes import minilm

pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(1800)]


def test_infinity_and_fastembed_embed_as_we_do(tmp_path: Path) -> None:
    race = Race({}, OurEmbeddings("openvino-fp32", minilm("openvino-fp32")))
    with ExitStack() as stack:
        for name, start in starts_elsewhere(["float32"], tmp_path):
            race.enter(stack, name, start)
        race.warm_up(Work.of(1, 2))
    assert race.out == {}
