"""The command `reward-score`: scores a file of groups against a running reward server."""

import argparse
import json
import math
import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TextIO, cast

from ireasoner.clients.errors import Fault, RequestRefused, RewardError
from ireasoner.clients.group_lines import GroupLines, UnreadableGroup
from ireasoner.clients.sync_client import RewardClient
from ireasoner.clients.wire import Config, Detail, Endpoint, ScoredGroup

TOKEN_VARIABLE = "IREASONER_REWARD_TOKEN"
EPILOG = """\
Each line of FILE is one group, an object like
  {"id": "q1", "rollouts": [{"id": "0", "text": "<think>1. ...</think><answer>7</answer>"}, ...]}
or, parsed before, with rollouts like {"id": "0", "answer": "7", "steps": ["...", "..."]}.
No two groups have the same id. Each line written is one group's scores as the server answers them, in the order
of FILE, with the fingerprint of what scored it.

examples:
  reward-score groups.jsonl > scores.jsonl
  reward-score groups.jsonl --endpoint outcome --config '{"preset": "paper", "alpha": 1.0}'
  reward-score - --progress 0.5 --detail rewards < groups.jsonl

exit status: 0 all scored; 1 the server failed, or refused what it was sent (a config that it does not know, a
rollout that is too long); 2 FILE or an option is wrong, whatever the server; 141 whoever read the scores (head,
say) has enough of them.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.progress is not None and options.endpoint != "solver":
        parser.error("--progress is for --endpoint solver only")
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
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        print(f"reward-score: {file}{error.strerror or error}", file=sys.stderr)
        return 2
    except RewardError as error:
        print(f"reward-score: {error}", file=sys.stderr)
        return 1
    except UnicodeDecodeError as error:
        print(f"reward-score: {options.file}: not UTF-8: {error.reason}", file=sys.stderr)
        return 2
    except (UnreadableGroup, ValueError) as error:
        # A ValueError is an option's: an address that is none, or NaN, which is no JSON.
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
        "--progress", type=_progress, help="progress of the training in [0, 1], for solver only [1]"
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
        type=_seconds,
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
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error


def _progress(text: str) -> float:
    return _number(text, 1.0, "a number in [0, 1]")


def _seconds(text: str) -> float:
    return _number(text, sys.float_info.max, "a finite number of seconds, 0 or more")


def _number(text: str, highest: float, what: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= highest:
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return number


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def _input(stack: ExitStack, name: str) -> TextIO:
    return sys.stdin if name == "-" else stack.enter_context(Path(name).open(encoding="utf-8"))


def _output(stack: ExitStack, name: str) -> TextIO:
    return sys.stdout if name == "-" else stack.enter_context(_written_anew(Path(name)))


def _score(client: RewardClient, lines: TextIO, output: TextIO, options: argparse.Namespace) -> None:
    groups = GroupLines(lines, options.file)
    shows_count = sys.stderr.isatty() and not output.isatty()
    done = 0
    try:
        responses = client.score_many(
            cast(Endpoint, options.endpoint),
            groups,
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
            done += len(response.groups)
            if shows_count:
                print(f"\r{done} groups scored", end="", file=sys.stderr, flush=True)
    except RequestRefused as error:
        # Responses come in order, so the refused request holds the groups that follow those that are done.
        faults = tuple(Fault(groups.place(fault.place, done), fault.reason) for fault in error.faults)
        raise RequestRefused(
            error.status, error.code, error.detail, faults=faults, request_id=error.request_id
        ) from error
    finally:
        if shows_count and done:
            print(file=sys.stderr)


def _as_line(group: ScoredGroup, fingerprint: str, options: argparse.Namespace) -> dict[str, object]:
    """What the server answered of a group: what it left out is left out, not told to be empty."""
    line = asdict(group)
    if not group.not_compared:
        del line["not_compared"]
    for cluster in line["clusters"]:
        if not cluster["members"]:
            del cluster["members"]
    for rollout in line["rollouts"]:
        for step in rollout["steps"]:
            if step["credit"] is None:  # its place is left out with it, and where it is not, null means none
                del step["credit"], step["place"]
    if options.detail == "rewards":
        del line["clusters"]
        for rollout in line["rollouts"]:
            del rollout["steps"]
    if options.endpoint == "proposer":
        del line["rollouts"]
    return {**line, "fingerprint": fingerprint}


@contextmanager
def _written_anew(path: Path) -> Iterator[TextIO]:
    """Replaces `path` once the block has ended.

    If the block raises, `path` keeps its content, and whatever was written stays beside it in `<name>.partial`.
    A pipe or a device is opened as it is.
    """
    is_device = path.is_relative_to("/dev")  # /dev/stdout may point to a regular file
    if path.exists() and (is_device or not path.is_file()):
        with path.open("w", encoding="utf-8") as file:
            yield file
        return
    target = path.resolve()
    partial = target.with_name(f"{target.name}.partial")
    try:
        with partial.open("w", encoding="utf-8") as file:
            yield file
    except BaseException:
        if partial.exists() and not partial.stat().st_size:
            partial.unlink()
        raise
    if target.exists():
        shutil.copymode(target, partial)
    partial.replace(target)


if __name__ == "__main__":
    sys.exit(main())
