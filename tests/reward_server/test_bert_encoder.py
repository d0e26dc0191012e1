"""The default embedder's graph, made without torch, against sentence-transformers."""

import shutil
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ireasoner.reward_server.embedding.bert_encoder import BertEncoder
from ireasoner.reward_server.embedding.load import packaged_minilm
from ireasoner.reward_server.embedding.openvino_embedder import OpenVinoEmbedder
from ireasoner.reward_server.embedding.sentence_embedder import load_model

MAX_TOKENS = 256
SENTENCE = "the row reads two four one so we add them up and carry what is over "
TEXTS = {
    "empty": "",
    "blank": " \t\n  ",
    "one letter": "a",
    "one digit": "7",
    "punctuation": "?!... --- ()[]{} ''\"",
    "a step": "2 plus 4 is 6, so the second row sums to 7.",
    "upper case": "THE ANSWER IS SEVEN",
    "several lines": "Step 1: add.\nStep 2: carry.\r\n\tStep 3: done.",
    "254 words": " ".join(["one"] * (MAX_TOKENS - 2)),
    "255 words": " ".join(["one"] * (MAX_TOKENS - 1)),
    "960 words": SENTENCE * 60,
    "one word of 99 letters": "x" * 99,
    "one word of 101 letters": "y" * 101,
    "one word of 5,000 letters": "z" * 5_000,
    "Chinese": "第二行是二、四和一,所以答案是七。",
    "long Chinese": "我们把每一行的数字相加" * 60,
    "Japanese and Korean": "二行目は2、4、1です。 답은 7입니다.",
    "Arabic and Hebrew": "الجواب هو سبعة והתשובה היא שבע",
    "Devanagari": "उत्तर सात है",
    "emoji": "the answer is 🎉 seven 👍🏽",
    "joined emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 and a flag 🇩🇪",
    "accents": "naïve café, Ångström, Größe",
    "combining accents": "nai\u0308ve cafe\u0301",
    "control characters": "a\x00b\x07c\u200bd\ufeffe\u2028f",
    "replacement character": "broken \ufffd text",
    "formula": r"\frac{1}{2}x^2 + \sqrt{3} \le \infty",
    "code": "for i in range(10):\n    total += row[i]  # carry",
    "special tokens": "[CLS] seven [SEP] [MASK] [PAD] [UNK]",
    "numbers": "3.14159 1,000,000 1e-9 0x1F 50% -273.15°C",
    "mathematical letters": "𝒙 + 𝟕 = ∑ α²",
}


@pytest.fixture(scope="module")
def encoder() -> BertEncoder:
    return BertEncoder(packaged_minilm())


@pytest.fixture(scope="module")
def library() -> Any:
    """The model as sentence-transformers runs it."""
    return load_model(str(packaged_minilm()), "cpu")


@pytest.fixture(scope="module")
def rows(encoder: BertEncoder) -> dict[str, NDArray[np.float32]]:
    """The vector of each text in float32, embedded in batches of equal length."""
    embedder = OpenVinoEmbedder("minilm", encoder, 1, "openvino-fp32")
    tokens = dict(zip(TEXTS, embedder.tokenize(list(TEXTS.values())), strict=True))
    by_length: dict[int, list[str]] = defaultdict(list)
    for name, ids in tokens.items():
        by_length[len(ids)].append(name)
    return {
        name: row
        for names in by_length.values()
        for name, row in zip(names, embedder.embed([tokens[name] for name in names]), strict=True)
    }


@pytest.mark.parametrize("name", TEXTS)
def test_tokens_and_vectors_are_sentence_transformers(
    name: str, encoder: BertEncoder, library: Any, rows: dict[str, NDArray[np.float32]]
) -> None:
    [ids] = encoder.tokenize([TEXTS[name]])
    assert ids == library.tokenize([TEXTS[name]])["input_ids"][0].tolist()
    assert len(ids) <= MAX_TOKENS
    assert rows[name] == pytest.approx(library.encode(TEXTS[name]), abs=1e-5)
    assert np.linalg.norm(rows[name]) == pytest.approx(1, abs=1e-6)


def test_texts_longer_than_the_model_reads_are_cut(rows: dict[str, NDArray[np.float32]]) -> None:
    """254 words and the two special tokens are the most that it reads."""
    assert np.array_equal(rows["254 words"], rows["255 words"])


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A copy of the packaged checkpoint that a test may change."""
    return Path(shutil.copytree(packaged_minilm(), tmp_path / "minilm"))


def test_the_identity_is_the_checkpoints_and_the_precisions(checkpoint: Path, encoder: BertEncoder) -> None:
    assert BertEncoder(checkpoint).identity("f32") == encoder.identity("f32")
    assert encoder.identity("f32") != encoder.identity("bf16")


@pytest.mark.parametrize(
    "file", ["model.safetensors", "tokenizer.json", "sentence_bert_config.json", "config.json"]
)
def test_the_identity_tells_checkpoints_apart(checkpoint: Path, encoder: BertEncoder, file: str) -> None:
    if file == "model.safetensors":
        with (checkpoint / file).open("r+b") as opened:
            opened.seek(-1, 2)
            opened.write(b"\x01")
    else:
        (checkpoint / file).write_text((checkpoint / file).read_text() + "\n")
    assert BertEncoder(checkpoint).identity("f32") != encoder.identity("f32")


def test_the_identity_tells_versions_of_the_graph_apart(
    encoder: BertEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = encoder.identity("f32")
    monkeypatch.setattr("ireasoner.reward_server.embedding.bert_encoder.GRAPH_VERSION", "0")
    assert encoder.identity("f32") != before
