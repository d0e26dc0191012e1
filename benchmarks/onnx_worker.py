"""Runs in the environment of the peers, which has torch, ONNX and fastembed: a script that imports nothing of ours.

onnx_worker.py versions              prints the versions of infinity and fastembed
onnx_worker.py export MODEL FOLDER   copies a BERT of transformers to FOLDER, with its graph as `model.onnx`
onnx_worker.py embed FOLDER          for each line of texts, a JSON list, prints their rows with fastembed: base64 of
                                     float32. Prints an empty line once it is ready.
onnx_worker.py infinity ARGUMENTS    runs infinity's command with one thread for each ONNX session
"""

import base64
import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

NAME = "minilm"
DIMENSION = 384
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
BATCH = 32


def export(model: Path, folder: Path) -> None:
    """Writes the model's files and its graph into `folder`."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    shutil.copytree(model, folder)
    # Plain attention, which onnxruntime's optimiser knows.
    bert = AutoModel.from_pretrained(
        model, add_pooling_layer=False, attn_implementation="eager", return_dict=False
    )
    example = AutoTokenizer.from_pretrained(model)("An example.", return_tensors="pt")
    torch.onnx.export(
        bert.eval(),
        tuple(example[name] for name in INPUTS),
        str(folder / "model.onnx"),
        input_names=list(INPUTS),
        output_names=["last_hidden_state"],
        dynamic_axes={name: {0: "batch", 1: "tokens"} for name in (*INPUTS, "last_hidden_state")},
        opset_version=17,
        dynamo=False,
    )


def fastembed(folder: Path) -> Any:
    """The model of the folder on fastembed, with one thread."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import ModelSource, PoolingType

    TextEmbedding.add_custom_model(
        NAME,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(url="http://127.0.0.1/none"),  # one is required, and not used
        dim=DIMENSION,
        model_file="model.onnx",
    )
    return TextEmbedding(NAME, specific_model_path=str(folder), threads=1, providers=["CPUExecutionProvider"])


def embed(folder: Path) -> None:
    """Answers lines of texts until the input ends."""
    import numpy as np

    model = fastembed(folder)
    print(flush=True)
    for line in sys.stdin:
        texts = json.loads(line)
        # fastembed pads each batch to its longest text, and leaves the order to its caller.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        rows = np.empty((len(texts), DIMENSION), np.float32)
        for index, row in zip(
            order, model.embed([texts[index] for index in order], batch_size=BATCH), strict=True
        ):
            rows[index] = row
        print(base64.b64encode(rows.tobytes()).decode(), flush=True)


def infinity(arguments: list[str]) -> None:
    """Runs `infinity_emb`. By itself onnxruntime starts a thread on every core, whatever cores the process may use."""
    import onnxruntime

    class OneThread(onnxruntime.InferenceSession):  # type: ignore[misc]
        """A session that computes on the thread that calls it."""

        def __init__(self, path: Any, sess_options: Any = None, **rest: Any) -> None:
            options = sess_options or onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            super().__init__(path, options, **rest)

    onnxruntime.InferenceSession = OneThread
    from infinity_emb.cli import cli

    sys.argv = ["infinity_emb", *arguments]
    cli()


def main() -> None:
    """Runs the command."""
    command, *rest = sys.argv[1:]
    if command == "versions":
        print(json.dumps({name: version(name) for name in ("infinity-emb", "fastembed")}))
    elif command == "export":
        export(Path(rest[0]), Path(rest[1]))
    elif command == "infinity":
        infinity(rest)
    else:
        embed(Path(rest[0]))


if __name__ == "__main__":
    main()
