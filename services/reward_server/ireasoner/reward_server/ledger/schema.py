"""The ledger's SQLite file: its tables, and how it is opened.

A run is what one source of one experiment sends. Tables of records (`groups`, `documents`, `texts`, `questions`,
`scorings`) are only appended to, and eviction removes their oldest rows. `points` holds the sums of each update of a
run, so that a timeline reads one row per update however many groups there are. `feeds` holds the number of the last
record of each start of a server: a record that is sent again, because its sender did not learn that it was kept, is not
kept twice. An imported group holds the digest of its line, for the same reason, and both are evicted together.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ireasoner.reward_server.ledger.read_call import ReadConnection

VERSION = 3
"""`user_version` of the file; a file of another version is refused."""
FILE = "ledger.sqlite"
IMAGES = "images"
COMPARISONS = "comparisons"

NO_SOURCE = "-"
"""The source of requests that name none."""
UNKNOWN = "unknown"
"""Label of a config, and name of an embedder, that an imported file does not say."""

BUSY_TIMEOUT_S = 2.0
"""Seconds that a write waits for another process's lock on the file."""

TABLES = """
CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    experiment TEXT NOT NULL,
    source TEXT NOT NULL,
    UNIQUE (experiment, source)
) STRICT;

CREATE TABLE scorings (          -- what rewards were computed with
    id INTEGER PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    config_label TEXT NOT NULL,  -- the name of a config, with a mark if the request overrode fields of it
    config TEXT NOT NULL,        -- all fields, as JSON
    embedder TEXT NOT NULL,
    UNIQUE (fingerprint, config_label, config, embedder)  -- imported lines may lack a fingerprint
) STRICT;

CREATE TABLE questions (         -- one row per run, question and image
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs,
    digest BLOB NOT NULL,        -- SHA-256 of question and image
    question TEXT,
    image TEXT,                  -- SHA-256 in hexadecimal
    UNIQUE (run_id, digest)
) STRICT;
CREATE INDEX questions_by_image ON questions (run_id, image) WHERE image IS NOT NULL;

CREATE TABLE groups (            -- the figures of a group; ids grow with the time of arrival
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id INTEGER NOT NULL REFERENCES runs,
    scoring_id INTEGER NOT NULL REFERENCES scorings,
    question_id INTEGER REFERENCES questions,
    received_s REAL NOT NULL,    -- seconds since 1970
    request_id TEXT NOT NULL,
    name TEXT NOT NULL,          -- the id that the caller gave the group
    endpoint TEXT NOT NULL,      -- outcome, trajectory, solver or proposer
    progress REAL NOT NULL,
    at INTEGER,                  -- the update; NULL if the caller did not say
    status TEXT NOT NULL,
    dominant_answer TEXT,
    tie INTEGER NOT NULL,
    dominant_share REAL NOT NULL,
    density REAL NOT NULL,
    entropy_nats REAL,
    proposer_reward REAL,
    rollouts INTEGER NOT NULL,
    invalid INTEGER NOT NULL,    -- rollouts
    abstained INTEGER NOT NULL,  -- rollouts
    reward REAL,                 -- mean over the rollouts that have one; so are the next two
    outcome REAL,
    trajectory REAL,
    excess REAL,                 -- reward less outcome
    spread REAL,                 -- largest less smallest reward
    words REAL NOT NULL,         -- mean per rollout
    steps REAL,                  -- mean per rollout; NULL for /score/proposer, which reads none
    flipped INTEGER,             -- whether the dominant answer differs from that of the question's previous group
    correct INTEGER,             -- whether the dominant answer is one of the labels; NULL without labels
    correct_share REAL,          -- share of the rollouts whose answer is one of the labels
    line BLOB                    -- SHA-256 of the experiment, the source and the imported line; else NULL
) STRICT;
CREATE INDEX groups_by_update ON groups (run_id, at);
CREATE INDEX groups_by_question ON groups (question_id, id);
CREATE INDEX groups_by_scoring ON groups (scoring_id);
CREATE UNIQUE INDEX groups_imported ON groups (line) WHERE line IS NOT NULL;
CREATE INDEX groups_tied ON groups (run_id, received_s) WHERE tie = 1;
CREATE INDEX groups_flat ON groups (run_id, received_s) WHERE spread = 0;
CREATE INDEX groups_flipped ON groups (run_id, received_s) WHERE flipped = 1;
CREATE INDEX groups_abstained ON groups (run_id, received_s) WHERE abstained > 0;
CREATE INDEX groups_invalid ON groups (run_id, received_s) WHERE invalid > 0;
CREATE INDEX groups_right ON groups (run_id, received_s) WHERE correct = 1;
CREATE INDEX groups_wrong ON groups (run_id, received_s) WHERE correct = 0;

CREATE TABLE documents (         -- {"group": as sent, "scored": as answered with detail full}, zlib of JSON
    group_id INTEGER PRIMARY KEY,
    document BLOB NOT NULL
) STRICT;

CREATE VIRTUAL TABLE texts USING fts5 (  -- rowid is the group's id; run is a mark such as <12>
    run, question, answers, steps, content = '', tokenize = 'trigram'
);

CREATE TABLE points (            -- sums over the groups of an update, or of a minute where no update was given,
                                 -- and of the whole run
    run_id INTEGER NOT NULL REFERENCES runs,
    endpoint TEXT NOT NULL,
    unit TEXT NOT NULL,          -- update, minute or run
    at INTEGER NOT NULL,         -- the update, minutes since 1970, or 0
    first_s REAL NOT NULL,
    last_s REAL NOT NULL,
    groups INTEGER NOT NULL,
    rollouts INTEGER NOT NULL,
    invalid INTEGER NOT NULL,
    abstained INTEGER NOT NULL,
    ties INTEGER NOT NULL,
    flat INTEGER NOT NULL,       -- groups without spread
    flips INTEGER NOT NULL,
    flips_known INTEGER NOT NULL,
    correct INTEGER NOT NULL,
    correct_known INTEGER NOT NULL,
    rewarded INTEGER NOT NULL,   -- groups with a reward
    reward REAL NOT NULL,        -- sums of the groups' figures
    outcome REAL NOT NULL,
    trajectory REAL NOT NULL,
    proposer_reward REAL NOT NULL,
    answered INTEGER NOT NULL,   -- groups with an entropy
    entropy_nats REAL NOT NULL,
    dominant_share REAL NOT NULL,
    words REAL NOT NULL,
    counted INTEGER NOT NULL,    -- groups whose steps were counted
    steps REAL NOT NULL,
    PRIMARY KEY (run_id, endpoint, unit, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    sha256 TEXT NOT NULL,
    experiment TEXT NOT NULL,    -- an image is shown to the experiments that put it
    bytes INTEGER NOT NULL,
    put_s REAL NOT NULL,
    PRIMARY KEY (sha256, experiment)
) STRICT, WITHOUT ROWID;

CREATE TABLE feeds (             -- starts of servers; the newest are kept
    id TEXT PRIMARY KEY,
    last INTEGER NOT NULL        -- number of the last record that was kept
) STRICT, WITHOUT ROWID;

CREATE TABLE evictions (         -- what was removed to stay within the size
    run_id INTEGER PRIMARY KEY,  -- 0: all runs of which nothing is left
    groups INTEGER NOT NULL,
    rollouts INTEGER NOT NULL,
    until_s REAL NOT NULL        -- everything of the run up to this time is gone
) STRICT;
"""

SORT_INDEXES = {
    "received_s": "groups_by_time",
    "reward": "groups_by_reward",
    "outcome": "groups_by_outcome",
    "trajectory": "groups_by_trajectory",
    "excess": "groups_by_excess",
    "spread": "groups_by_spread",
    "dominant_share": "groups_by_dominant_share",
    "entropy_nats": "groups_by_entropy",
    "proposer_reward": "groups_by_proposer_reward",
    "words": "groups_by_words",
    "steps": "groups_by_steps",
    "correct_share": "groups_by_correct_share",
}
"""Figures that groups are sorted by, each with the index that has this order: the run, the figure, the group's id."""
FILTERED = (
    "received_s",
    "dominant_share",
    "at",
    "endpoint",
    "tie",
    "spread",
    "flipped",
    "abstained",
    "invalid",
    "correct",
    "question_id",
)
"""Figures that groups are filtered by. Each index of an order has them, so that a page reads the index alone."""


def _sort_index(figure: str) -> str:
    others = ", ".join(each for each in FILTERED if each != figure)
    # Most runs have no labels.
    known = " WHERE correct_share IS NOT NULL" if figure == "correct_share" else ""
    return f"CREATE INDEX {SORT_INDEXES[figure]} ON groups (run_id, {figure}, id, {others}){known};"


_SCHEMA = TABLES + "\n".join(map(_sort_index, SORT_INDEXES))


class LedgerUnusable(Exception):
    """A ledger cannot be opened; the message names the file and the reason."""


class OtherVersion(LedgerUnusable):
    """The file is a ledger of another version."""


def open_to_write(folder: Path) -> sqlite3.Connection:
    """The ledger of a folder, created if it is missing.

    Raises:
        LedgerUnusable: The file is not a ledger of this version, or it cannot be opened.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(folder / FILE, timeout=BUSY_TIMEOUT_S, isolation_level=None)
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # decided before the first table
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        version = _version(connection)
        if version == 0:
            connection.executescript(f"BEGIN;{_SCHEMA}PRAGMA user_version = {VERSION};COMMIT;")
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnusable(f"{folder / FILE}: {error}") from error
    _check_version(folder, version or VERSION)
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commits what the block writes, or nothing of it if it raises."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def open_to_read(folder: Path) -> sqlite3.Connection:
    """The ledger of a folder, read-only; any thread may use the connection, one at a time.

    Raises:
        LedgerUnusable: There is no ledger of this version, or it cannot be opened.
    """
    file = folder / FILE
    if not file.is_file():
        raise LedgerUnusable(f"{folder} holds no ledger: {FILE} is missing")
    try:
        connection = sqlite3.connect(
            f"{file.resolve().as_uri()}?mode=ro",
            uri=True,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            factory=ReadConnection,
        )
        version = _version(connection)
    except sqlite3.Error as error:
        raise LedgerUnusable(f"{file}: {error}") from error
    _check_version(folder, version)
    return connection


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _check_version(folder: Path, version: int) -> None:
    if version != VERSION:
        raise OtherVersion(f"{folder / FILE} is a ledger of version {version}; this server reads {VERSION}")
