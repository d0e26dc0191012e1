"""Under attack, a server answers others, its memory stays bounded, and it gives memory back."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.attacks import at_once, config_names, long_ids, of_bodies, of_callers
from tests.attack.effect import MIB, Attack, effect_of
from tests.attack.sockets import many_headers, tiny_chunks
from tests.reward_server.processes import RunningServer, server

pytestmark = pytest.mark.xdist_group("attacks")

MOST_BYTES, MOST_LEFT_BYTES = 300 * MIB, 100 * MIB
PROBE_CPU_S = 0.0015
"""Processor time of a server in a usual wait for `/livez`, on the machine for which the aims are."""
MOST_LIVEZ_RATIO = 0.25 / PROBE_CPU_S
"""The aim: `/livez` answers within 250 ms."""
MOST_OTHER_RATIO = 2.0 / PROBE_CPU_S
"""The aim: another caller's small group within 2 s."""
BODIES = dict(of_bodies())
CALLERS = dict(of_callers())
SHORT: dict[str, Attack] = {
    **{name: BODIES[name] for name in ("equal steps", "few unknown fields", "faulty steps", "deep")},
    "a header of 100 MB": CALLERS["a header of 100 MB"],
    "many headers": at_once(lambda url: many_headers(url, 20_000)),
    "chunks of a byte": at_once(lambda url: tiny_chunks(url, 10_000)),
    "long ids": at_once(lambda url: long_ids(url, 2, 2 * 2**20)),
    "config names": at_once(lambda url: config_names(url, 20)),
}
ANSWERS: dict[str, str] = {
    "equal steps": "200",
    "a million steps": "413 504",
    "lists": "413",
    "lists, scored": "413",
    "short texts": "413",
    "unknown fields": "413",
    "few unknown fields": "413",
    "faulty rollouts": "422",
    "faulty steps": "422",
    "deep": "422",
    "a header of 100 MB": "431",
    "many headers": "431",
    "chunks of a byte": "422 408",
    "chunks of a byte, nowhere": "404",
    "300 half heads": "300",
    "300 idle connections": "300",
    "long ids": "200",
}
"""The answers that an attack may get; the second is that of a slow machine, on which the attack takes too long."""


@pytest.fixture(scope="module")
def attacked(compass: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server process, whose memory is its own."""
    flags = ["--embedder", "token-mean", "--token-mean-checkpoint", str(compass), "--log-level", "error"]
    log = tmp_path_factory.mktemp("attacked") / "log"
    with server(log, *flags) as started:
        yield started
    assert log.read_text() == "", "an attack is not an error of the server"


def check(name: str, server: RunningServer, attack: Attack) -> None:
    """Attacks, and holds the effect to the bounds."""
    effect = effect_of(name, server, attack)
    print(effect)
    assert name not in ANSWERS or effect.answer in ANSWERS[name].split()
    assert effect.peak_bytes < MOST_BYTES, effect
    assert effect.left_bytes < MOST_LEFT_BYTES, effect
    assert effect.livez_ratio < MOST_LIVEZ_RATIO, effect
    assert effect.other_ratio < MOST_OTHER_RATIO, effect
    assert server.metric("reward_held_bytes") == 0


@pytest.mark.parametrize("name", SHORT)
def test_an_attack_hurts_nobody_else(attacked: RunningServer, name: str) -> None:
    check(name, attacked, SHORT[name])


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [*BODIES, *CALLERS])
def test_every_attack_hurts_nobody_else(attacked: RunningServer, name: str) -> None:
    check(name, attacked, (BODIES | CALLERS)[name])
