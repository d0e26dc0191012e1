"""The command `reward-score`: scores a file of groups against a running reward server."""

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TextIO, cast

from clients.codec import decode_group
from clients.errors import RewardError
from clients.output_file import written_anew
from clients.sync_client import RewardClient
from clients.wire import Config, Detail, Endpoint, Group, ScoredGroup

BAR_WIDTH = 30
TOKEN_VARIABLE = "IREASONER_REWARD_TOKEN"
EPILOG = """\
Each line of FILE is one group, an object like
  {"id": "q1", "rollouts": [{"id": "0", "text": "<think>1. ...</think><answer>7</answer>"}, ...]}
or, parsed before, with rollouts like {"id": "0", "answer": "7", "steps": ["...", "..."]}.
Each line written is one group's scores, in the order of FILE, with the fingerprint of what scored it.

examples:
  reward-score groups.jsonl > scores.jsonl
  reward-score groups.jsonl --endpoint outcome --config '{"preset": "paper", "alpha": 1.0}'
  reward-score - --progress 0.5 --detail rewards < groups.jsonl

exit status: 0 all scored; 1 the server failed or refused; 2 FILE or an option is wrong; 141 whoever read the
scores (head, say) has enough of them.
"""


class UnreadableGroup(Exception):
    """A line of the input is not a group."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    options = _parser().parse_args(arguments)
    try:
        with ExitStack() as stack:
            lines = _input(stack, options.file)
            client = stack.enter_context(
                RewardClient(options.url, token=_token(options), retry_budget_s=options.retry_budget_s)
            )
            output = _output(stack, options.output)
            _score(client, lines, output, options)
    except BrokenPipeError:  # whoever read the scores has enough of them
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # takes what is flushed at the end
        return 128 + signal.SIGPIPE
    except (UnreadableGroup, OSError, UnicodeDecodeError) as error:
        print(f"reward-score: {error}", file=sys.stderr)
        return 2
    except RewardError as error:
        print(f"reward-score: {error}", file=sys.stderr)
        return 1
    except ValueError as error:  # of an option: an address that is none, or NaN, which is no JSON
        print(f"reward-score: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="reward-score",
        description="Scores groups of rollouts (JSON lines) with a running reward server.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="JSON lines of groups; - reads standard input")
    parser.add_argument("--url", default="http://127.0.0.1:8010", help="the reward server [%(default)s]")
    parser.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help=f"holds the server's token [variable {TOKEN_VARIABLE}]",
    )
    parser.add_argument(
        "--endpoint",
        choices=("outcome", "trajectory", "solver", "proposer"),
        default="solver",
        help="which reward to compute [%(default)s]",
    )
    parser.add_argument(
        "--config",
        type=_config,
        default="paper",
        help="the name of a preset or of a registered config, or a JSON object of overrides [%(default)s]",
    )
    parser.add_argument(
        "--progress", type=float, help="progress of the training in [0, 1], for solver only [1]"
    )
    parser.add_argument(
        "--detail", choices=("full", "rewards"), default="full", help="rewards leaves out steps and clusters"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        default="-",
        help="where to write [standard output]; a file takes its name once all is scored, and is FILE.partial "
        "until then",
    )
    parser.add_argument("--groups-per-request", type=_positive, default=16, metavar="N", help="[%(default)s]")
    parser.add_argument("--in-flight", type=_positive, default=4, metavar="N", help="requests [%(default)s]")
    parser.add_argument(
        "--retry-budget-s",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="how long a request is tried again while the server is away or busy [%(default)s]",
    )
    return parser


def _token(options: argparse.Namespace) -> str | None:
    if options.token_file is not None:
        return cast(Path, options.token_file).read_text().strip()
    return os.environ.get(TOKEN_VARIABLE)


def _config(text: str) -> Config:
    if not text.lstrip().startswith("{"):
        return text
    try:
        return cast(Config, json.loads(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _input(stack: ExitStack, name: str) -> TextIO:
    return sys.stdin if name == "-" else stack.enter_context(Path(name).open(encoding="utf-8"))


def _output(stack: ExitStack, name: str) -> TextIO:
    return sys.stdout if name == "-" else stack.enter_context(written_anew(Path(name)))


def _score(client: RewardClient, lines: TextIO, output: TextIO, options: argparse.Namespace) -> None:
    bar = ProgressBar(lines, sys.stderr)
    try:
        responses = client.score_many(
            cast(Endpoint, options.endpoint),
            read_groups(lines, options.file),
            config=options.config,
            progress=options.progress,
            detail=cast(Detail, options.detail),
            groups_per_request=options.groups_per_request,
            in_flight=options.in_flight,
        )
        for response in responses:
            for group in response.groups:
                print(json.dumps(_as_line(group, response.fingerprint, options)), file=output)
            output.flush()
            bar.advance(len(response.groups))
    finally:
        bar.close()


def read_groups(lines: TextIO, name: str) -> Iterator[Group]:
    """The groups of JSON lines; raises UnreadableGroup with the file's name and the line's number."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            group = json.loads(line)
            if not isinstance(group, dict):
                raise ValueError("not an object")  # noqa: TRY004, TRY301
            yield decode_group(group)
        except (ValueError, TypeError) as error:
            raise UnreadableGroup(f"{name}:{number}: {error}") from error


def _as_line(group: ScoredGroup, fingerprint: str, options: argparse.Namespace) -> dict[str, object]:
    line = asdict(group)
    if options.detail == "rewards":
        del line["clusters"]
        for rollout in line["rollouts"]:
            del rollout["steps"]
    if options.endpoint == "proposer":
        del line["rollouts"]
    return {**line, "fingerprint": fingerprint}


class ProgressBar:
    """A count of the groups done on `screen`, with a bar if the input's length can be known.

    On a screen that is no terminal it writes one line at the end.
    """

    def __init__(self, lines: TextIO, screen: TextIO) -> None:
        self._screen = screen
        self._done = 0
        self._total = None
        if lines.seekable():
            start = lines.tell()
            self._total = sum(1 for line in lines if line.strip())
            lines.seek(start)

    def advance(self, count: int) -> None:
        """Tells that `count` more groups are done."""
        self._done += count
        if self._screen.isatty():
            self._screen.write(f"\r{self._text()}")
            self._screen.flush()

    def close(self) -> None:
        """Ends the line that the bar stands in."""
        self._screen.write("\n" if self._screen.isatty() and self._done else f"{self._text()}\n")

    def _text(self) -> str:
        if not self._total:
            return f"{self._done} groups"
        filled = BAR_WIDTH * self._done // self._total
        return f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {self._done}/{self._total} groups"


if __name__ == "__main__":
    sys.exit(main())
