"""Which file system a folder is on: SQLite's write-ahead log needs memory that all its processes share."""

import re
from pathlib import Path

from ireasoner.reward_server.ledger.schema import LedgerUnusable

MOUNTS = Path("/proc/self/mountinfo")
NETWORK = frozenset(
    {
        "9p",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "fuse.ceph",
        "fuse.ceph-fuse",
        "fuse.gcsfuse",
        "fuse.glusterfs",
        "fuse.juicefs",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.sshfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs3",
        "nfs4",
        "ocfs2",
        "orangefs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "wekafs",
    }
)
"""File systems, as the kernel names them, that several machines can have mounted."""
_OCTAL = re.compile(r"\\([0-7]{3})")


def check_local(folder: Path, mounts: Path = MOUNTS) -> None:
    """Raises LedgerUnusable if a folder, which need not exist, is seen to be on a network file system."""
    kind = file_system_of(folder, mounts)
    if kind in NETWORK:
        raise LedgerUnusable(
            f"the ledger {folder} would be on a network file system ({kind}), where SQLite's write-ahead log does "
            "not work; choose a folder on a local disk"
        )


def file_system_of(folder: Path, mounts: Path = MOUNTS) -> str | None:
    """The file system of a folder, as the kernel names it; None if that cannot be seen."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    resolved = folder.resolve()
    best: tuple[int, str] | None = None
    for line in lines:
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 5:
            continue
        mounted = Path(_OCTAL.sub(lambda code: chr(int(code[1], 8)), fields[4]))
        depth = len(mounted.parts)
        if resolved.is_relative_to(mounted) and (best is None or depth >= best[0]):
            best = depth, after.split(" ")[0]  # of two mounts on one folder, the later one is seen
    return None if best is None else best[1]
