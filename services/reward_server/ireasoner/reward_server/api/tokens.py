"""Bearer tokens: one or several per experiment, stored as hashes in a file.

A line of the file is an experiment's name and the SHA-256 of a token, in hexadecimal. The experiment `operator` is
the operator's own: its tokens read all metrics, and register configs that all experiments can name. Tokens are
created here from 256 random bits, so that their plain hashes cannot be searched. The file is read again when it
changes, so tokens can be added and revoked while the server runs. A file that cannot be read then changes nothing: it
may be half written.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Hashable
from pathlib import Path

log = logging.getLogger(__name__)

OPERATOR = "operator"
NO_EXPERIMENT = "-"
"""The experiment of requests without a token, which may do what an operator may; no token belongs to it."""
_NAME = re.compile(rf"(?!{NO_EXPERIMENT}\Z)[\w.-]{{1,64}}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}")


def limited_to(experiment: str) -> str | None:
    """The experiment whose data alone a caller may see; None for an operator and for callers without a token."""
    return None if experiment in (NO_EXPERIMENT, OPERATOR) else experiment


def turns_of(experiment: str) -> Hashable:
    """Whose turns a request of `experiment` takes: the experiment's; without a token, its own."""
    return object() if experiment == NO_EXPERIMENT else experiment


class UnusableTokens(Exception):
    """A token file cannot be used; the message names the line and the reason."""


class Tokens:
    """The tokens of a file; raises UnusableTokens if it cannot be read.

    If it cannot be read later, the tokens of the last successful read stay valid, and an error is logged.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._stamp = _stamp(file)
        self._known = _read(file)

    def experiment(self, token: str) -> str | None:
        """The experiment that a token belongs to, or None. A wrong token takes as long as a right one."""
        self._refresh()
        presented = hashlib.sha256(token.encode(errors="surrogateescape")).digest()
        found = None
        for known, experiment in self._known:
            if hmac.compare_digest(known, presented):
                found = experiment
        return found

    def _refresh(self) -> None:
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._known = _read(self._file)
        except UnusableTokens as error:
            log.error("%s; the %d tokens that were read before stay valid", error, len(self._known))  # noqa: TRY400


def _stamp(file: Path) -> tuple[int, ...] | None:
    """What changes when a file is changed or replaced; None if it is missing."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _read(file: Path) -> tuple[tuple[bytes, str], ...]:
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise UnusableTokens(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UnusableTokens(f"{file}: not a text file") from error
    known = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, digest = line.strip().partition(" ")
        if not _NAME.fullmatch(name) or not _HASH.fullmatch(digest.strip()):
            raise UnusableTokens(f"{file}:{number}: expected an experiment's name and the SHA-256 of a token")
        known.append((bytes.fromhex(digest.strip()), name))
    return tuple(known)


def count_tokens(file: Path, experiment: str) -> int:
    """How many tokens of an experiment are in `file`; raises UnusableTokens if it is there and cannot be read."""
    return sum(name == experiment for _, name in _read(file)) if file.exists() else 0


def add_token(file: Path, experiment: str) -> str:
    """Creates a token for an experiment, adds its hash to `file` (created if missing) and returns the token.

    Raises:
        UnusableTokens: The name is invalid, or the file cannot be written.
    """
    if not _NAME.fullmatch(experiment):
        raise UnusableTokens(
            f"{experiment!r}: a name has 1 to 64 of A-Z, a-z, 0-9, _, . and -, and is not '-'"
        )
    token = secrets.token_urlsafe(32)
    digest = hashlib.sha256(token.encode()).hexdigest()
    try:
        file.touch(mode=0o600, exist_ok=True)
        is_whole = file.read_bytes()[-1:] in (b"", b"\n")
        with file.open("a") as lines:
            lines.write(f"{'' if is_whole else chr(10)}{experiment} {digest}\n")
    except OSError as error:
        raise UnusableTokens(f"{file}: {error.strerror}") from error
    return token
