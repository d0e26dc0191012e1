"""The default embedder in the real app: the same texts get the same rewards, whatever else is scored."""

import re
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest

from ireasoner.reward_server.embedding import embedder as embedder_module
from ireasoner.reward_server.embedding import load
from ireasoner.reward_server.embedding.bert_encoder import BertEncoder
from ireasoner.reward_server.embedding.converted_encoder import ConvertedEncoder
from ireasoner.reward_server.embedding.embedder import Embedder, EmbedderSpec, Runtime
from ireasoner.reward_server.embedding.load import ModelNotPackaged, load_embedder, packaged_minilm
from ireasoner.reward_server.embedding.openvino_embedder import OpenVinoEmbedder
from ireasoner.reward_server.embedding.openvino_runtime import PrecisionNotComputed
from ireasoner.reward_server.embedding.sentence_embedder import ModelUnavailable, available
from ireasoner.reward_server.embedding.worker_backend import backend_of
from ireasoner.reward_server.settings import RewardServerSettings
from tests.reward_server.requests import Json, group, rewards, rollout, score, score_group

TOLERANCE = 1e-5
SENTENCE = "the row reads two four one so we add them up and carry what is over into the next place"
TEXTS = [
    rollout("7", "The second row reads 2, 4, 1.", "2 plus 4 is 6.", "6 plus 1 is 7."),
    rollout("7", "Row 2 holds the digits 2, 4 and 1.", "Their sum is 7."),
    rollout("7", "I see 2 4 1.", "2+4+1=7", "So the answer is seven."),
    rollout("8", "I see 2 5 1.", "2+5+1=8"),
]


def crowd(size: int, first: int = 0) -> list[Json]:
    """Other groups, with steps of many lengths."""
    words = SENTENCE.split()
    return [
        group([rollout("7", *[f"{' '.join(words[: 1 + i * j % 17])} {i}" for j in range(1, 6)])] * 2, name)
        for i, name in enumerate(map(str, range(first, first + size)))
    ]


@pytest.mark.parametrize("preset", ["paper", "robust"])
def test_rewards_do_not_depend_on_other_requests(minilm_http: httpx.Client, preset: str) -> None:
    config = {"preset": preset}
    alone = rewards(score_group(minilm_http, "solver", TEXTS, config=config))
    inside = score(minilm_http, "solver", *crowd(20), group(TEXTS), *crowd(10, 20), config=config)["groups"][
        20
    ]
    assert rewards(inside) == pytest.approx(alone, abs=TOLERANCE)
    backwards = rewards(score_group(minilm_http, "solver", TEXTS[::-1], config=config))
    assert backwards[::-1] == pytest.approx(alone, abs=TOLERANCE)
    with ThreadPoolExecutor(8) as pool:
        others = [pool.submit(score, minilm_http, "solver", other) for other in crowd(24)]
        beside = [pool.submit(score_group, minilm_http, "solver", TEXTS, config=config) for _ in range(4)]
        for future in beside:
            assert rewards(future.result()) == pytest.approx(alone, abs=TOLERANCE)
        assert all(len(other.result()["groups"]) == 1 for other in others)


def minilm_on(runtime: Runtime) -> Embedder:
    """The default embedder on one thread; skips the test if the processor does not compute in the precision."""
    import openvino  # after the embedder, which keeps its telemetry out

    spec = EmbedderSpec("minilm", None, runtime, "cpu", 1)
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if runtime == "openvino-bf16" and "BF16" not in capabilities:
        with pytest.raises(PrecisionNotComputed):
            load_embedder(spec)
        pytest.skip("this processor does not compute in bfloat16, and the embedder refuses it")
    return load_embedder(spec)


@pytest.mark.parametrize(
    ("runtime", "tolerance"),
    [("openvino-fp32", 1e-5), ("openvino-bf16", 5e-3), ("torch-fp32", 1e-5), ("torch-bf16", 5e-3)],
)
def test_vectors_equal_the_librarys_and_do_not_depend_on_the_batch(
    runtime: Runtime, tolerance: float
) -> None:
    embedder = minilm_on(runtime)
    from sentence_transformers import SentenceTransformer  # repaired by the embedder

    words = SENTENCE.split()
    texts = [" ".join(words[i:] + words[:i]) for i in range(len(words))]
    tokens = embedder.tokenize(texts)
    assert len({len(ids) for ids in tokens}) == 1
    together = embedder.embed(tokens)
    expected = SentenceTransformer(str(packaged_minilm()), device="cpu").encode(texts)
    assert together == pytest.approx(expected, abs=tolerance)
    for size in (1, 2, 3, 7):
        assert embedder.embed(tokens[:size]) == pytest.approx(together[:size], abs=1e-6)


@pytest.mark.parametrize("runtime", ["openvino-fp32", "openvino-bf16"])
def test_vectors_do_not_depend_on_the_rest_of_a_full_batch(runtime: Runtime) -> None:
    """Batches as large as the batcher's largest, of short, usual and long steps."""
    embedder = minilm_on(runtime)
    most_tokens = RewardServerSettings().max_batch_tokens
    random_state = np.random.default_rng(7)
    for length in (8, 30, 200):
        tokens = random_state.integers(1_000, 20_000, (most_tokens // length, length)).tolist()
        whole = embedder.embed(tokens)
        for size in (1, len(tokens) // 2):
            assert embedder.embed(tokens[-size:]) == pytest.approx(whole[-size:], abs=1e-6)


def test_any_sentence_transformers_model_is_converted() -> None:
    """By torch, whose internal warnings stay hidden; here the packaged one, so that both graphs can be compared."""
    encoder = ConvertedEncoder(str(packaged_minilm()))
    with warnings.catch_warnings(record=True, action="always") as caught:
        converted = OpenVinoEmbedder("other", encoder, 1, "openvino-fp32")
    assert [str(each.message) for each in caught if "LeafSpec" in str(each.message)] == []
    packaged = minilm_on("openvino-fp32")
    tokens = packaged.tokenize([SENTENCE])
    assert converted.tokenize([SENTENCE]) == tokens
    assert converted.embed(tokens) == pytest.approx(packaged.embed(tokens), abs=1e-5)
    assert converted.identity != packaged.identity


def test_openvino_runs_in_the_requested_precision_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without bfloat16, OpenVINO silently uses another precision; here it is forced to."""
    import openvino  # after the embedder, which keeps its telemetry out

    class WithoutBf16(openvino.Core):  # type: ignore[misc]
        def compile_model(self, model: Any, device: str, config: dict[str, Any]) -> Any:
            return super().compile_model(model, device, config | {"INFERENCE_PRECISION_HINT": "f32"})

    encoder = BertEncoder(packaged_minilm())
    monkeypatch.setattr(openvino, "Core", WithoutBf16)
    with pytest.raises(PrecisionNotComputed, match="computes in f32, not in bf16"):
        OpenVinoEmbedder("minilm", encoder, 1, "openvino-bf16")
    auto = OpenVinoEmbedder("minilm", encoder, 1, "auto")
    assert auto.identity == encoder.identity("f32")


def test_a_package_without_the_weights_says_how_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(load, "PACKAGED", tmp_path)
    with pytest.raises(
        ModelNotPackaged, match=r"has no weights: install iReasoner again, or run `python hatch_build"
    ):
        load_embedder(EmbedderSpec("minilm", None, "openvino-fp32", "cpu", 1))


def on_openvino(embedder: str, runtime: Runtime, device: str) -> bool:
    return EmbedderSpec(embedder, None, runtime, device, 1).on_openvino


def test_the_packaged_model_runs_on_openvino_by_default() -> None:
    assert on_openvino("minilm", "auto", "cpu")
    assert on_openvino("any/other", "openvino-fp32", "cpu")
    assert not on_openvino("any/other", "auto", "cpu")
    assert not on_openvino("minilm", "auto", "cuda")
    assert not on_openvino("minilm", "torch-bf16", "cpu")


def show(devices: list[str], has_extra: bool, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with these files in /dev, with or without torch."""
    for name in devices:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    monkeypatch.setattr(embedder_module, "DEVICES", folder)
    monkeypatch.setattr(embedder_module, "find_spec", lambda name: object() if has_extra else None)


@pytest.mark.parametrize(
    ("devices", "has_extra", "asked"),
    [
        ([], True, False),
        (["null", "nvram", "dri/card0", "nvidiactl", "davinci_manager", "hl_controlD0"], True, False),
        (["nvidia0"], True, True),
        (["nvidia12"], True, True),
        (["kfd"], True, True),
        (["dxg"], True, True),
        (["dri/renderD128"], True, True),
        (["accel/accel0"], True, True),
        (["hl0"], True, True),
        (["davinci3"], True, True),
        (["nvidia0"], False, False),
    ],
)
def test_torch_is_asked_for_a_gpu_only_if_it_could_use_one(
    devices: list[str], has_extra: bool, asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show(devices, has_extra, tmp_path, monkeypatch)
    gpu = SimpleNamespace(current_accelerator=lambda check_available: SimpleNamespace(type="cuda"))
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(accelerator=gpu))
    assert on_openvino("minilm", "auto", "auto") is not asked


AUTO = EmbedderSpec("minilm", None, "auto", "auto", None)


@pytest.mark.parametrize(
    "devices", [["nvidia0"], ["kfd"], ["hl0"], ["davinci0"], ["nvidia1", "nvidia0", "kfd"]]
)
def test_an_accelerator_without_torch_is_named_once(
    devices: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    show(devices, False, tmp_path, monkeypatch)
    backend_of(AUTO)
    [record] = caplog.records
    assert record.levelname == "WARNING"
    message = record.getMessage()
    assert any(str(tmp_path / device) in message for device in devices)
    assert "pip install ./clients '.[reward-server,sentence-transformers]'" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("devices", "has_extra", "changed"),
    [
        (["nvidia0"], True, {}),
        ([], False, {}),
        (["dri/renderD128", "dxg", "accel/accel0", "nvidiactl"], False, {}),  # may only draw
        (["nvidia0"], False, {"device": "cpu"}),
        (["nvidia0"], False, {"runtime": "openvino-fp32"}),
        (["nvidia0"], False, {"embedder": "any/other"}),  # which is an error without torch
        (["nvidia0"], False, {"embedder": "token-mean", "token_mean_checkpoint": Path()}),
    ],
)
def test_nothing_is_said_where_no_accelerator_is_missed(
    devices: list[str],
    has_extra: bool,
    changed: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    show(devices, has_extra, tmp_path, monkeypatch)
    backend_of(replace(AUTO, **changed))
    assert caplog.records == []


def test_openvino_sends_no_usage_reports() -> None:
    imported = (
        "import sys; from importlib.util import find_spec\n"
        "assert find_spec('openvino_telemetry'), 'OpenVINO no longer ships it: remove the line that hides it'\n"
        "import ireasoner.reward_server.embedding.openvino_embedder\n"
        "print([name for name in sys.modules if 'telemetry_stub' in name or name.startswith('openvino_telemetry.')])\n"
    )
    done = subprocess.run([sys.executable, "-c", imported], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['openvino.tools.ovc.telemetry_stub']"


@pytest.mark.parametrize("model", ["nosuch/model", "./nowhere", "a/b/c", "no such model"])
def test_an_unavailable_model_is_an_error_at_once(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub is asked once; here it cannot be reached."""
    asked: list[str] = []

    def unreachable(hub: object, repository: str, timeout: float) -> None:
        asked.append(repository)
        raise OSError("unreachable\nhelp")

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", unreachable)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ModelUnavailable, match=re.escape(model)) as error:
        available(model)
    assert "\n" not in str(error.value)
    assert len(asked) <= 1


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    assert available(str(tmp_path)) == str(tmp_path)
