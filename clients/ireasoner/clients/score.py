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
Some configs read "signals", "view", "rewarded" and "answer_in_view" of rollouts, and "voters" of groups: put
the group that votes below those that it judges.
For the server's ledger, a group can have "question", "image" (the SHA-256 of an image) and "labels" (right answers);
no score depends on them.
Group ids are unique. Each output line holds the scores of one group as the server returns them, in the order of
FILE, and the fingerprint of the config, parser and embedder that scored it.

examples:
  reward-score groups.jsonl > scores.jsonl
  reward-score groups.jsonl --endpoint outcome --config '{"preset": "paper", "alpha": 1.0}'
  reward-score - --progress 0.5 --detail rewards < groups.jsonl

exit status: 0 all groups were scored; 1 the server failed or refused a request (an unknown config, a rollout that
is too long); 2 FILE or an option is wrong; 141 the reader of the output (head, for example) closed it.
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
    except BrokenPipeError:  # the reader of the output closed it
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # the interpreter's last flush goes there
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
        # A ValueError comes from an option: a malformed address, or NaN, which JSON cannot express.
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
        help=f"file with the token for the server [variable {TOKEN_VARIABLE}]",
    )
    parser.add_argument(
        "--endpoint",
        choices=("outcome", "trajectory", "solver", "proposer"),
        default="solver",
        help="the reward to compute [%(default)s]",
    )
    parser.add_argument(
        "--config",
        type=_config,
        default="paper",
        help="name of a preset or registered config, or a JSON object of overrides [%(default)s]",
    )
    parser.add_argument(
        "--progress",
        type=_progress,
        help="progress of the training in [0, 1], for the endpoint solver only [1]",
    )
    parser.add_argument(
        "--detail",
        choices=("full", "rewards"),
        default="full",
        help="rewards leaves out steps and clusters [%(default)s]",
    )
    parser.add_argument(
        "--source", metavar="NAME", help="name of the run in the server's ledger; no score depends on it"
    )
    parser.add_argument(
        "--output",
        metavar="FILE",
        default="-",
        help="output file [standard output]; written as FILE.partial, and renamed once all groups are scored",
    )
    parser.add_argument(
        "--groups-per-request",
        type=_positive,
        default=16,
        metavar="N",
        help="groups in one request [%(default)s]",
    )
    parser.add_argument(
        "--in-flight", type=_positive, default=4, metavar="N", help="requests at a time [%(default)s]"
    )
    parser.add_argument(
        "--retry-budget-s",
        type=_seconds,
        default=30.0,
        metavar="SECONDS",
        help="how long to retry a request while the server is unreachable or busy [%(default)s]",
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
    return sys.stdout if name == "-" else stack.enter_context(_replaced(Path(name)))


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
            source=options.source,
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
        faults = tuple(Fault(groups.locate(fault.place, done), fault.reason) for fault in error.faults)
        raise RequestRefused(
            error.status, error.code, error.detail, faults=faults, request_id=error.request_id
        ) from error
    finally:
        if shows_count and done:
            print(file=sys.stderr)


def _as_line(group: ScoredGroup, fingerprint: str, options: argparse.Namespace) -> dict[str, object]:
    """A scored group as the server wrote it: fields that it left out are left out here, too."""
    line = asdict(group)
    if not group.not_compared:
        del line["not_compared"]
    if group.hint is None:
        del line["hint"]
    for cluster in line["clusters"]:
        if not cluster["members"]:
            del cluster["members"]
    for rollout in line["rollouts"]:
        if rollout["rewarded"]:
            del rollout["rewarded"]
        if not rollout["components"]:
            del rollout["components"]
        for step in rollout["steps"]:
            if step["credit"] is None:  # the place is left out with it; a place of null means none
                del step["credit"], step["place"]
    if options.detail == "rewards":
        del line["clusters"]
        for rollout in line["rollouts"]:
            del rollout["steps"]
    if options.endpoint == "proposer":
        del line["rollouts"]
    return {**line, "fingerprint": fingerprint}


@contextmanager
def _replaced(path: Path) -> Iterator[TextIO]:
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
