"""Other embedding servers and runtimes on the steps that our server embeds, in turns; `python -m benchmarks.peers`
prints what `make bench` measured last.

Each has the same weights, one core and one thread. Ours reads whole rollouts and answers with rewards; the others get
the distinct steps of the dominant rollouts, and answer with their embeddings.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import peer_servers, served
from benchmarks.capacity import DEFAULTS, LATEST
from benchmarks.comparison import Comparison, Turns, compare, read
from benchmarks.peer import Peer, PeerUnavailable
from benchmarks.peer_environment import PeerEnvironment
from benchmarks.peer_processes import OurEmbeddings, SentenceTransformers, fastembed
from benchmarks.runtimes import computed
from benchmarks.workload import Sample, groups
from ireasoner.reward_server.embedding.embedder import Embedder, Runtime

PART = "peers"
GOALS = {"vLLM": 1.8, "infinity": 4.0}
SMALLEST_COSINE = 0.999
"""Of a peer's embedding of a text with ours in float32: below it, the peer computes something else."""
BESIDE = ": parse to score, against "
Start = Callable[[], AbstractContextManager[Peer]]


@dataclass(frozen=True, slots=True)
class Work:
    """What is scored in one turn.

    Attributes:
        groups: Of rollouts.
        texts: The distinct steps of their dominant rollouts.
    """

    groups: list[list[Sample]]
    texts: list[str]

    @classmethod
    def of(cls, seed: int, count: int) -> "Work":
        """`count` groups that no other seed gives."""
        drawn = groups(seed, count)
        dominant = (rollout for group in drawn for rollout in group if rollout.answer == group[0].answer)
        return cls(drawn, list(dict.fromkeys(step for rollout in dominant for step in rollout.steps)))


def measured(tries: int, count: int, seeds: Iterator[int]) -> Iterator[Comparison]:
    """Our server's speed, from parsing to the score, against each peer's speed at embeddings alone."""
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(TemporaryDirectory()))
        embedders = computed(DEFAULTS)
        flags = ("--device", "cpu", "--cache-mib", "0", "--runtime")
        ours = {
            runtime: partial(scored_per_s, stack.enter_context(served.server(*flags, runtime)))
            for runtime in embedders
        }
        race = Race(ours, OurEmbeddings("openvino-fp32", embedders["openvino-fp32"]))
        for name, start in _starts(embedders, scratch):
            race.enter(stack, name, start)
        race.warm_up(Work.of(next(seeds), count))
        for turn in range(tries):
            race.run(Work.of(next(seeds), count), backwards=turn % 2 == 1)
        yield from race.comparisons()


class Race:
    """The speeds of our servers and of the peers in each turn.

    Args:
        ours: The speed of each of our servers at some work, by runtime; the default runtime is the first.
        exact: What the peers' embeddings are compared with.

    Attributes:
        out: The peers that are not measured, and why.
    """

    def __init__(self, ours: Mapping[Runtime, Callable[[Work], float]], exact: Peer) -> None:
        self._ours = ours
        self._exact = exact
        self._peers: dict[str, Peer] = {}
        self.out: dict[str, str] = {}
        self._turns: list[dict[str, float]] = []

    def enter(self, stack: ExitStack, name: str, start: Start) -> None:
        """Starts a peer, until the stack ends; one that does not start is out."""
        try:
            peer = stack.enter_context(start())
            self._peers[peer.name] = peer
        except PeerUnavailable as error:
            self.out[name] = str(error)

    def warm_up(self, work: Work) -> None:
        """Everyone works once; a peer that embeds otherwise than we do is out."""
        for scored in self._ours.values():
            scored(work)
        exact = self._exact.embed(work.texts)
        for name, peer in list(self._peers.items()):
            with self._may_fail(name):
                cosine = float((exact * peer.embed(work.texts)).sum(axis=1).min())
                if not cosine >= SMALLEST_COSINE:  # nan, too
                    raise PeerUnavailable(f"its embeddings differ from ours, by a cosine of {cosine:.4f}")

    def run(self, work: Work, *, backwards: bool) -> None:
        """One turn of everyone, in order or backwards."""
        speeds: dict[str, Callable[[], float]] = {
            runtime: partial(scored, work) for runtime, scored in self._ours.items()
        }
        speeds |= {name: partial(embedded_per_s, peer, work) for name, peer in self._peers.items()}
        turn = {}
        for name in reversed(speeds) if backwards else speeds:
            with self._may_fail(name):
                turn[name] = speeds[name]()
        self._turns.append(turn)

    def comparisons(self) -> Iterator[Comparison]:
        """Each of our servers against each peer, in the turn with the median ratio; then who is out, and why."""
        for number, runtime in enumerate(self._ours):
            for name, peer in self._peers.items():
                turns = Turns()
                for turn in self._turns:
                    turns.add(turn[runtime], turn[name])
                goal = None if number else GOALS.get(name.split()[0])
                yield compare(f"{runtime}{BESIDE}{name}", "steps/s", *turns.median, goal, note=peer.note)
            ours = float(np.median([turn[runtime] for turn in self._turns]))
            for name, reason in self.out.items():
                yield compare(f"{runtime}{BESIDE}{name}", "steps/s", ours, note=f"not measured: {reason}")

    @contextmanager
    def _may_fail(self, name: str) -> Iterator[None]:
        try:
            yield
        except PeerUnavailable as error:
            del self._peers[name]
            self.out[name] = str(error)


def _starts(embedders: Mapping[Runtime, Embedder], scratch: Path) -> Iterator[tuple[str, Start]]:
    """The name of each peer, in case it does not start, and how to start it."""
    for runtime, embedder in embedders.items():
        yield runtime, partial(at_hand, partial(OurEmbeddings, runtime, embedder))
    yield "sentence-transformers", partial(at_hand, SentenceTransformers)
    dtypes = ["float32", "bfloat16"] if "openvino-bf16" in embedders else ["float32"]
    for dtype in dtypes:
        yield f"vLLM, {dtype}", partial(peer_servers.vllm, dtype)
    yield from starts_elsewhere(dtypes, scratch)


def starts_elsewhere(dtypes: Sequence[str], scratch: Path) -> Iterator[tuple[str, Start]]:
    """The same for the peers that have an environment of their own."""
    starts: dict[str, Callable[[PeerEnvironment], AbstractContextManager[Peer]]] = {
        "fastembed": fastembed,
        "infinity, optimum": partial(peer_servers.infinity, engine="optimum", dtype="float32"),
    }
    for dtype in dtypes:
        starts[f"infinity, torch, {dtype}"] = partial(peer_servers.infinity, engine="torch", dtype=dtype)
    try:
        environment = PeerEnvironment.made(scratch)
    except PeerUnavailable as error:
        for name in starts:
            yield name, partial(unavailable, error)
    else:
        for name, start in starts.items():
            yield name, partial(start, environment)


def at_hand(peer: Callable[[], Peer]) -> AbstractContextManager[Peer]:
    """Starts a peer that runs in this process."""
    return nullcontext(peer())


def unavailable(error: PeerUnavailable) -> AbstractContextManager[Peer]:
    """Starts a peer that cannot be started."""
    raise error


def scored_per_s(running: served.Server, work: Work) -> float:
    """Distinct steps of dominant rollouts per second, from whole rollouts to rewards."""
    size = -(-len(work.groups) // peer_servers.REQUESTS)
    bodies = [served.body(work.groups[start : start + size]) for start in range(0, len(work.groups), size)]
    before = running.embedded()
    seconds, _ = served.load(running.url, bodies, peer_servers.REQUESTS)
    embedded = running.embedded() - before
    assert embedded == len(work.texts), f"{embedded} steps were embedded, not {len(work.texts)}"
    return embedded / seconds


def embedded_per_s(peer: Peer, work: Work) -> float:
    """Texts per second."""
    started_s = time.perf_counter()
    peer.embed(work.texts)
    return len(work.texts) / (time.perf_counter() - started_s)


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons with peers, in Markdown, and when and where they were measured."""
    lines = [
        "| ours, parse to score | steps/s | another, embeddings alone | steps/s | ratio | |",
        "|---|---|---|---|---|---|",
    ]
    measured = [each for each in comparisons if each.part == PART]
    for each in measured:
        ours, _, other = each.name.partition(BESIDE)
        speed = "" if each.other is None else f"{each.other:.0f}"
        ratio = "" if each.ratio is None else f"{each.ratio:.2f}"
        lines.append(f"| {ours} | {each.ours:.0f} | {other} | {speed} | {ratio} | {each.note} |")
    if not measured:
        lines.append("| not measured yet: run `make bench` | | | | | |")
    else:
        lines.append(f"\n_Measured on {measured[0].measured} on one core of: {measured[0].processor}._")
    return "\n".join(lines)


def main() -> None:
    """Prints the table."""
    print(table(read(LATEST)))


if __name__ == "__main__":
    main()
