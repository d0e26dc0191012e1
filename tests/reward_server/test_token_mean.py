"""The embedder that reads one tensor of a checkpoint, in every format of checkpoints."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.safetensors_file import UnreadableTensors
from ireasoner.reward_server.embedding.token_mean import TokenMean, UnusableCheckpoint
from tests.reward_server.compass import POINTS, write_compass, write_safetensors

TABLE = np.array(list(POINTS.values()), np.float32)


def bfloat16(array: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The upper half of each float's bits; exact for the compass."""
    return (array.view(np.uint32) >> 16).astype(np.uint16)


def test_the_mean_of_the_first_64_tokens(compass: Path) -> None:
    embedder = TokenMean(compass)
    ids = embedder.tokenize(["east north", " ".join(["north"] * 64 + ["east"] * 9), "", "north unknown"])
    assert [len(each) for each in ids] == [2, 64, 0, 2]
    rows = embedder.embed(ids[:1] + ids[3:])
    assert rows.dtype == np.float32
    assert rows == pytest.approx(np.array([[0.5**0.5, 0.5**0.5], [0, 1]]), abs=1e-7)
    assert embedder.embed([ids[1]]) == pytest.approx(np.array([[0, 1]]))


@pytest.mark.parametrize(
    ("kind", "table"),
    [
        ("F32", TABLE),
        ("BF16", bfloat16(TABLE)),
        ("F16", TABLE.astype(np.float16)),
        ("F64", TABLE.astype(np.float64)),
    ],
)
@pytest.mark.parametrize("name", ["model.language_model.embed_tokens.weight", "transformer.wte.weight"])
def test_every_float_type_and_shards(tmp_path: Path, kind: str, table: NDArray[Any], name: str) -> None:
    write_compass(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    other = np.zeros((3, 3), np.float32)
    write_safetensors(tmp_path / "model-00001-of-00002.safetensors", {"lm_head.weight": ("F32", other)})
    write_safetensors(
        tmp_path / "model-00002-of-00002.safetensors", {"a": ("F32", other), name: (kind, table)}
    )
    embedder = TokenMean(tmp_path)
    ids = embedder.tokenize(["east", "northeast"])
    assert embedder.embed(ids) == pytest.approx(np.array([[1, 0], [0.5**0.5, 0.5**0.5]]), abs=1e-7)


def test_it_agrees_with_the_safetensors_library(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    write_compass(tmp_path)
    before = TokenMean(tmp_path).identity
    save_file({"model.embed_tokens.weight": TABLE, "b": TABLE[:1]}, tmp_path / "model.safetensors")
    assert TokenMean(tmp_path).identity == before


def test_the_identity_changes_with_the_weights_and_the_tokenizer(tmp_path: Path) -> None:
    write_compass(tmp_path)
    identities = {TokenMean(tmp_path).identity}
    write_safetensors(tmp_path / "model.safetensors", {"embed_tokens.weight": ("F32", TABLE * 2)})
    identities.add(TokenMean(tmp_path).identity)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tokenizer["normalizer"] = {"type": "Lowercase"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    identities.add(TokenMean(tmp_path).identity)
    assert len(identities) == 3


def test_an_unusable_checkpoint_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(UnusableCheckpoint, match=r"tokenizer\.json is missing"):
        TokenMean(tmp_path)
    write_compass(tmp_path)
    weights = tmp_path / "model.safetensors"
    write_safetensors(weights, {"head.weight": ("F32", TABLE)})
    with pytest.raises(UnusableCheckpoint, match=r"embed_tokens\.weight.*found none"):
        TokenMean(tmp_path)
    write_safetensors(weights, {"embed_tokens.weight": ("F32", TABLE[:3])})
    with pytest.raises(UnusableCheckpoint, match="only 3 rows"):
        TokenMean(tmp_path)
    write_safetensors(weights, {"embed_tokens.weight": ("I8", TABLE)})
    with pytest.raises(UnreadableTensors, match="stored as I8"):
        TokenMean(tmp_path)
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UnreadableTensors, match="not a safetensors file"):
        TokenMean(tmp_path)


def test_it_needs_neither_torch_nor_transformers(compass: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from ireasoner.reward_server.embedding.token_mean import TokenMean;"
        "import ireasoner.reward_server.server; TokenMean(Path(sys.argv[1]));"
        "assert not {'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(compass)], check=True, timeout=240)
