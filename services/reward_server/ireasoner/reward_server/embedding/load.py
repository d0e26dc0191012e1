"""Loads the embedder that a spec names; each kind is imported only when it is used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec

PACKAGED = Path(__file__).with_name("minilm")
EXTRA = "sentence-transformers"
INSTALL_EXTRA = f"pip install ./clients '.[reward-server,{EXTRA}]'"
OF_THE_EXTRA = ("huggingface_hub", "sentence_transformers", "torch", "transformers")


class ExtraMissing(Exception):
    """The embedder needs packages of an extra that is not installed."""


class ModelNotPackaged(Exception):
    """The default embedder's files are not in this installation."""


def load_embedder(spec: EmbedderSpec) -> Embedder:
    """Loads the embedder; may take many seconds, and raises what the loader raises.

    Raises:
        ExtraMissing: It runs on torch, or is converted by it, and the extra `sentence-transformers` is not installed.
        ModelNotPackaged: It is `minilm`, and its files are not here.
    """
    if spec.embedder == "token-mean":
        from ireasoner.reward_server.embedding.token_mean import TokenMean

        assert spec.token_mean_checkpoint is not None
        return TokenMean(spec.token_mean_checkpoint)
    if spec.embedder == "minilm" and spec.on_openvino:
        from ireasoner.reward_server.embedding.bert_encoder import BertEncoder
        from ireasoner.reward_server.embedding.openvino_embedder import OpenVinoEmbedder

        return OpenVinoEmbedder(spec.embedder, BertEncoder(packaged_minilm()), spec.threads, spec.runtime)
    with _needs_the_extra(spec):
        return _load_with_torch(spec)


def packaged_minilm() -> Path:
    """The folder of all-MiniLM-L6-v2, a sentence-transformers model, which the installation put here.

    Raises:
        ModelNotPackaged: It did not.
    """
    if not (PACKAGED / "model.safetensors").is_file():
        raise ModelNotPackaged(
            f"{PACKAGED} has no weights: install iReasoner again, or run `python hatch_build.py` in its checkout"
        )
    return PACKAGED


def _load_with_torch(spec: EmbedderSpec) -> Embedder:
    model = str(packaged_minilm()) if spec.embedder == "minilm" else spec.embedder
    if spec.on_openvino:
        from ireasoner.reward_server.embedding.converted_encoder import ConvertedEncoder
        from ireasoner.reward_server.embedding.openvino_embedder import OpenVinoEmbedder

        return OpenVinoEmbedder(spec.embedder, ConvertedEncoder(model), spec.threads, spec.runtime)
    from ireasoner.reward_server.embedding.sentence_embedder import SentenceEmbedder

    return SentenceEmbedder(spec.embedder, model, spec.device, spec.threads, spec.runtime)


@contextmanager
def _needs_the_extra(spec: EmbedderSpec) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.split(".")[0] not in OF_THE_EXTRA:
            raise
        wanted = f"--embedder {spec.embedder} with --runtime {spec.runtime} and --device {spec.device}"
        raise ExtraMissing(f"{wanted} needs its extra: {INSTALL_EXTRA} (no module {missing})") from error
