"""Imports files of groups into a ledger: run folders, exports, and the files that `reward-score` reads and writes.

Each line is a record of its own, which is identified by its content. So a line is imported once, however often and from
whatever copy of its file, and an interrupted import goes on where it ended. A line whose group was evicted is imported
anew.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from ireasoner.reward_server.ledger import run_lines
from ireasoner.reward_server.ledger.exported_line import lasting, of_export
from ireasoner.reward_server.ledger.insert import insert, is_imported
from ireasoner.reward_server.ledger.record import Record
from ireasoner.reward_server.ledger.run_lines import Json, Kind, Line, Origin, Scoring, UnusableLine
from ireasoner.reward_server.ledger.schema import NO_SOURCE, UNKNOWN
from ireasoner.reward_server.ledger.source_file import (
    NothingToImport,
    SourceFile,
    check_apart,
    lines_of,
    parsed,
)
from ireasoner.reward_server.scoring_config import PAPER

LINES_PER_TRANSACTION = 200


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that was skipped, and why."""

    file: Path
    number: int
    reason: str


@dataclass(slots=True)
class Counts:
    """What an import did with the lines that it has read.

    Attributes:
        imported: Groups that were added.
        known: Groups that the ledger had from an earlier import.
        unanswered: Lines that hold no answers: of the Proposer's updates, and of proposals without a question.
        unscored: Groups that no given file has scores for.
        unfinished: Last lines that are still being written.
        missing_images: Groups whose image file is gone.
        bad: Lines that were skipped.
    """

    imported: int = 0
    known: int = 0
    unanswered: int = 0
    unscored: int = 0
    unfinished: int = 0
    missing_images: int = 0
    bad: list[BadLine] = field(default_factory=list)


class Import:
    """Imports files into the ledger behind a connection.

    Args:
        connection: The ledger, open to write.
        experiment: The experiment that the groups belong to; None: the one that a line says, else `-`.
        source: Their run; None: the one that a line says, else the file's.
        scoring: What groups were scored with whose file does not say; None if that is not known.
        progress: Of the training, as given to `reward-score`, whose files do not say it.
        put_image: Puts an image's file into the store and returns its SHA-256; None if there is no such image. Not
            given: images are left out.
        on_progress: Called with the bytes that have been read of a file, and the counts.

    Attributes:
        counts: What it has done so far.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        experiment: str | None = None,
        source: str | None = None,
        scoring: Scoring | None = None,
        progress: float = 1.0,
        put_image: Callable[[Path], str | None] | None = None,
        on_progress: Callable[[SourceFile, int, Counts], None] = lambda *_: None,
    ) -> None:
        self.counts = Counts()
        self._connection = connection
        self._experiment = experiment
        self._source = source
        self._scoring = scoring or Scoring(UNKNOWN, PAPER)
        self._progress = progress
        self._put_image = put_image
        self._on_progress = on_progress
        self._images: dict[str, str | None] = {}

    def files(self, files: Sequence[SourceFile]) -> None:
        """Imports the files, in order.

        Raises:
            NothingToImport: None of the files holds scores, or two runs have one name.
        """
        check_apart(files)
        sent = _SentGroups([file for file in files if file.kind == "groups"], self.counts.bad)
        scored = [file for file in files if file.kind != "groups"]
        if not scored:
            raise NothingToImport(
                f"{files[0].path} holds groups without scores: score it with reward-score, and give both files"
            )
        for file in scored:
            self._file(file, sent)
        self.counts.unscored += sent.unused

    def _file(self, file: SourceFile, sent: "_SentGroups") -> None:
        begun = False
        for number, (offset, text) in enumerate(lines_of(file.path), start=1):
            if not begun:
                self._connection.execute("BEGIN IMMEDIATE")
                begun = True
            self._line(file, number, text, sent)
            if number % LINES_PER_TRANSACTION == 0:
                self._connection.execute("COMMIT")
                begun = False
                self._on_progress(file, offset + len(text), self.counts)
        if begun:
            self._connection.execute("COMMIT")
        self._on_progress(file, file.size, self.counts)

    def _line(self, file: SourceFile, number: int, text: bytes, sent: "_SentGroups") -> None:
        if not text.strip():
            return
        if file.kind == "run" and not text.endswith(b"\n"):
            self.counts.unfinished += 1
            return
        try:
            identity = self._identity(file, text)
            if is_imported(self._connection, identity):
                self.counts.known += 1
                if file.kind == "scores":
                    sent.use(_id(parsed(text)))
                return
            line = self._read(file, number, parsed(text), sent)
            if line is None:
                self.counts.unanswered += 1
                return
            insert(self._connection, self._record(file, identity, line))
            self.counts.imported += 1
        except UnusableLine as error:
            self.counts.bad.append(BadLine(file.path, number, str(error)))

    def _read(self, file: SourceFile, number: int, line: Json, sent: "_SentGroups") -> Line | None:
        kind = run_lines.kind_of(line)
        if kind != file.kind:
            raise UnusableLine(f"a line of another kind of file: {_KINDS[kind]}, among {_KINDS[file.kind]}")
        if file.kind == "run":
            return run_lines.of_run(line, str(number))
        if file.kind == "export":
            return of_export(line)
        return run_lines.of_scores(line, sent.take(_id(line)), self._progress)

    def _identity(self, file: SourceFile, text: bytes) -> bytes:
        line: Json = {"experiment": NO_SOURCE, "source": file.source}
        content = text.strip()
        if file.kind == "export":
            line = parsed(text)
            content = lasting(line)
        whose = (self._experiment or line.get("experiment"), self._source or line.get("source"))
        key = hashlib.sha256(orjson.dumps(whose))
        key.update(content)
        return key.digest()

    def _record(self, file: SourceFile, identity: bytes, line: Line) -> Record:
        sent = line.sent
        if line.image is not None:
            sent = {**sent, "image": self._image(line.image)}
        origin = line.origin or Origin(
            NO_SOURCE, file.source, file.written_s, "import", file.scoring, embedder=UNKNOWN
        )
        scoring = origin.scoring or self._scoring
        return Record(
            feed="import",
            sequence=1,
            received_s=origin.received_s,
            experiment=self._experiment or origin.experiment,
            source=self._source or origin.source,
            update=line.update,
            endpoint=line.endpoint,
            progress=line.progress,
            request_id=origin.request_id,
            config_label=scoring.label,
            config=scoring.config,
            fingerprint=line.fingerprint or UNKNOWN,
            embedder=origin.embedder,
            groups=[{"group": sent, "scored": line.scored}],
            line=identity,
        )

    def _image(self, name: str) -> str:
        """The SHA-256 of an image of the run; of its path, if the image is not in the store.

        So two groups have the same image exactly if the run said so, and a question about another image is another one.
        """
        if name not in self._images:
            self._images[name] = None if self._put_image is None else self._put_image(Path(name))
        image = self._images[name]
        if image is None:
            self.counts.missing_images += 1
            return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        return image


_KINDS: dict[Kind, str] = {
    "run": "a run's groups",
    "scores": "scores of reward-score",
    "groups": "groups without scores",
    "export": "an export of the explorer",
}


class _SentGroups:
    """The groups of files that `reward-score` reads, found by their ids; a file is read once to find its lines.

    A later group with the same id replaces an earlier one. Lines without an id are added to `bad`.
    """

    def __init__(self, files: Sequence[SourceFile], bad: list[BadLine]) -> None:
        self._at: dict[str, tuple[Path, int]] = {}
        self._used: set[str] = set()
        for file in files:
            for number, (offset, text) in enumerate(lines_of(file.path), start=1):
                if text.strip():
                    try:
                        self._at[_id(parsed(text))] = file.path, offset
                    except UnusableLine as error:
                        bad.append(BadLine(file.path, number, str(error)))

    def take(self, group_id: str) -> Json | None:
        """The group with this id; None if no file has it."""
        if group_id not in self._at:
            return None
        path, offset = self._at[group_id]
        with path.open("rb") as file:
            file.seek(offset)
            line = parsed(file.readline())
        self.use(group_id)
        return line

    def use(self, group_id: str) -> None:
        """Counts the group as one that has scores."""
        if group_id in self._at:
            self._used.add(group_id)

    @property
    def unused(self) -> int:
        """Number of groups that were never taken."""
        return len(self._at) - len(self._used)


def _id(line: Json) -> str:
    """The id of a group; raises UnusableLine if it is no text."""
    found = line.get("id")
    if not isinstance(found, str):
        raise UnusableLine(
            f"id: {str(found)[:80]!r} is not a text" if "id" in line else "the field 'id' is missing"
        )
    return found
