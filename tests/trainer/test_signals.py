"""Signals: their formulas, whose distribution they are of, and the forward passes that measure it."""

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from peft import PeftModel, get_peft_model

from ireasoner.trainer.adapters.backbone import (
    forbid_tokens,
    forbidden_token_ids,
    load_backbone,
    load_processor,
    lora_config,
    name_roles,
)
from ireasoner.trainer.adapters.publisher import write_adapter
from ireasoner.trainer.errors import SettingsError
from ireasoner.trainer.images import png_bytes, read_image
from ireasoner.trainer.loop import signal_pass
from ireasoner.trainer.loop.signal_pass import SignalPass, refuse_logits_changed_after_the_head
from ireasoner.trainer.rewards.signals import signals_of
from ireasoner.trainer.rollouts.client import CHAT, RolloutClient, with_image
from ireasoner.trainer.rollouts.prompt import Prompt
from ireasoner.trainer.rollouts.prompts import solver_messages
from ireasoner.trainer.rollouts.rollout import Rollout, SamplingContract
from ireasoner.trainer.rollouts.token_figures import TOKEN_FIGURES
from ireasoner.trainer.settings import LoraSettings
from ireasoner.trainer.worlds.digit_grids.folders import write_unlabelled
from scripts.tiny_families import FAMILIES, build
from tests.conftest import MODEL
from tests.trainer.offline import disturb, reasoning

BOTH = tuple(sorted(TOKEN_FIGURES))


def figures_of(rows: Sequence[Sequence[float]]) -> dict[str, tuple[float, ...]]:
    """The figures of several distributions, each a row of log-probabilities of the same words."""
    logprobs = np.array(rows)
    return {name: tuple(TOKEN_FIGURES[name](logprobs).tolist()) if rows else () for name in BOTH}


def logs(*probabilities: float) -> list[float]:
    return [math.log(each) for each in probabilities]


SHARP, SHARPER = logs(0.7, 0.1, 0.1, 0.1), logs(0.97, 0.01, 0.01, 0.01)


def rollout(logprobs: Sequence[float], rows: Sequence[Sequence[float]] = ()) -> Rollout:
    tokens = tuple(range(len(logprobs)))
    return Rollout("7", tokens, tuple(logprobs), (1,), "stop", "p", 0, figures_of(rows))


@pytest.mark.parametrize(
    ("name", "rows", "expected"),
    [
        ("self_certainty", [SHARP], 0.4298),
        ("self_certainty", [SHARP, SHARPER], 1.2525),  # not 2.6388, which has ln V added
        ("self_certainty", [logs(0.25, 0.25, 0.25, 0.25)], 0.0),
        ("self_certainty", [logs(0.49, 0.49, 0.01, 0.01)], 1.2730),
        (
            "self_certainty",
            [logs(0.85, 0.05, 0.05, 0.05)],
            0.9011,
        ),  # KL(p, U) orders the last two the other way
        ("mean_token_entropy", [SHARP, SHARPER], 0.5540),
        ("mean_token_entropy", [logs(0.5, 0.5)], math.log(2)),
        ("mean_token_entropy", [logs(1.0)], 0.0),
    ],
)
def test_a_signal_is_the_mean_over_tokens(name: str, rows: list[list[float]], expected: float) -> None:
    one = rollout([-1.0] * len(rows), rows)
    assert signals_of(one, [name])[name] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("logprobs", "total", "mean"),
    [([-0.5], -0.5, -0.5), ([-3.6] * 200, -720.0, -3.6), ([0.0, -1.0, -2.0], -3.0, -1.0)],
)
def test_sums_of_log_probabilities_do_not_underflow(logprobs: list[float], total: float, mean: float) -> None:
    signals = signals_of(rollout(logprobs), ["sum_logprob", "mean_logprob", "tokens"])
    assert signals["sum_logprob"] == pytest.approx(total, abs=1e-12)
    assert signals["mean_logprob"] == pytest.approx(mean, abs=1e-12)
    assert signals["tokens"] == len(logprobs)


def test_only_what_is_asked_for_is_computed() -> None:
    assert signals_of(rollout([-1.0]), ["sum_logprob"]) == {"sum_logprob": -1.0}
    assert signals_of(rollout([-1.0]), []) == {}


def test_a_rollout_without_tokens_has_no_signal() -> None:
    assert signals_of(rollout([]), ["sum_logprob", *BOTH]) == {}


class Policies:
    """Two published adapters of a tiny model, and what each makes of a text."""

    def __init__(self, folder: Path, model: str = str(MODEL)) -> None:
        write_unlabelled(folder / "images", 1, seed=7)
        self._model = model
        self.folder = folder
        picture = read_image(next((folder / "images").iterdir()))
        question = "What is the sum of row 2?"
        self.prompt = Prompt(solver_messages(question), picture, png_bytes(picture), 4, question=question)
        self.processor = load_processor(model)
        self.backbone = load_backbone(self._model, "float32").eval()
        self.forbidden = forbidden_token_ids(self.backbone.config, self.processor.tokenizer)
        forbid_tokens(self.backbone, self.forbidden)
        for version in (0, 1):
            self._publish(version)

    def _publish(self, version: int) -> None:
        backbone = load_backbone(self._model, "float32")
        shape = lora_config(backbone, LoraSettings(r=8, alpha=16, dropout=0.0))
        policy = get_peft_model(backbone, shape)
        name_roles(policy, shape)
        torch.manual_seed(version)
        if version:
            disturb(policy)
        write_adapter(policy, "solver", self.folder / f"solver-{version:06d}")

    @cache  # noqa: B019
    def _plain(self, name: str) -> Any:
        backbone = load_backbone(self._model, "float32").eval()
        return PeftModel.from_pretrained(backbone, str(self.folder / name)).eval()

    def rollouts(self, version: int, *texts: str) -> list[Rollout]:
        """Rollouts with these texts, as if that version had sampled them."""
        tokenizer = self.processor.tokenizer
        prompt = self.processor.apply_chat_template(
            self.prompt.messages, tokenize=False, add_generation_prompt=True
        )
        [ids] = self.processor(images=[self.prompt.picture], text=[prompt])["input_ids"]
        written = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
        return [
            Rollout(text, tuple(own), (0.0,) * len(own), tuple(ids), "stop", f"solver-{version:06d}", 0)
            for text, own in zip(texts, written, strict=True)
        ]

    def one_at_a_time(self, sampled: Rollout, temperature: float) -> dict[str, tuple[float, ...]]:
        """The figures of a rollout by a plain forward pass over prompt and text."""
        policy = self._plain(sampled.policy)
        text = self.processor.apply_chat_template(
            self.prompt.messages, tokenize=False, add_generation_prompt=True
        )
        inputs = self.processor(images=[self.prompt.picture], text=[text], return_tensors="pt")
        prompt_tokens, written = inputs["input_ids"].size(1), torch.tensor([sampled.token_ids])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], written], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        for kind in {"token_type_ids", "mm_token_type_ids"} & set(inputs):
            inputs[kind] = torch.cat([inputs[kind], torch.zeros_like(written)], dim=1)
        with torch.no_grad():
            logits = policy(**inputs).logits[0, prompt_tokens - 1 : -1]
        allowed = [word for word in range(logits.size(-1)) if word not in set(self.forbidden)]
        logprobs = (logits[:, allowed] / temperature).log_softmax(-1)
        return figures_of(logprobs.tolist())


def signal_pass_of(policies: Policies, rollouts_per_pass: int) -> SignalPass:
    """At temperature 1, with both figures."""
    contract = SamplingContract(64, forbidden_token_ids=policies.forbidden)
    return SignalPass(
        policies.backbone,
        policies.processor,
        lambda name: policies.folder / name,
        contract,
        BOTH,
        rollouts_per_pass,
    )


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> Policies:
    torch.set_num_threads(1)
    return Policies(tmp_path_factory.mktemp("signals"))


@pytest.mark.parametrize(("temperature", "chunk"), [(1.0, 1), (0.7, 2**24)])
def test_forward_passes_measure_the_policy_that_sampled(
    policies: Policies, temperature: float, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each published version in turn, at the temperature of sampling, whatever the texts' lengths and the chunks."""
    monkeypatch.setattr(signal_pass, "_CHUNK_LOGITS", chunk)
    contract = SamplingContract(64, temperature=temperature, forbidden_token_ids=policies.forbidden)
    one = SignalPass(
        policies.backbone, policies.processor, lambda name: policies.folder / name, contract, BOTH, 2
    )
    for version in (0, 1, 0):
        rollouts = policies.rollouts(version, reasoning(7), "7", reasoning(11) + "\nmore")
        before = torch.get_rng_state()
        measured = one.measured(policies.prompt, rollouts)
        assert torch.equal(torch.get_rng_state(), before), "the run draws no other random numbers"
        assert [each.text for each in measured] == [each.text for each in rollouts]
        for each in measured:
            expected = policies.one_at_a_time(each, temperature)
            for name in BOTH:
                assert each.figures[name] == pytest.approx(expected[name], abs=1e-4)


LAYERS: dict[str, dict[str, Any]] = {
    "all layers slide": {"layer_types": "sliding_attention"},
    "layers drop": {"layer_types": "full_attention", "attention_dropout": 0.5},
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_layers_that_read_no_packed_rows_read_plain_ones(
    layers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the gradient's forward pass; packed, sliding layers would see all that is before a token."""
    shutil.copytree(MODEL, tmp_path / "model")
    file = tmp_path / "model" / "config.json"
    config = json.loads(file.read_text())
    text = config["text_config"]
    text |= {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0, **layers}
    text["layer_types"] = [text["layer_types"]] * text["num_hidden_layers"]
    file.write_text(json.dumps(config))
    policies = Policies(tmp_path, str(tmp_path / "model"))
    packed: list[Any] = []
    monkeypatch.setattr(signal_pass, "pack", lambda *_: packed.append(1))
    one = signal_pass_of(policies, 2)
    for each in one.measured(policies.prompt, policies.rollouts(1, reasoning(7), "7", reasoning(11))):
        expected = policies.one_at_a_time(each, 1.0)
        for name in BOTH:
            assert each.figures[name] == pytest.approx(expected[name], abs=1e-4)
    assert packed == []


def test_a_pass_shares_the_weights_of_the_backbone(policies: Policies) -> None:
    """And neither its adapter nor its modules: another thread may train meanwhile."""
    one = SignalPass(
        policies.backbone,
        policies.processor,
        lambda name: policies.folder / name,
        SamplingContract(8),
        ["self_certainty"],
        4,
    )
    one.measured(policies.prompt, policies.rollouts(1, "7"))
    own = {id(each) for each in one._backbone.parameters()}
    backbone = list(policies.backbone.parameters())
    assert all(id(each) in own for each in backbone)
    assert not any("lora" in name for name, _ in policies.backbone.named_parameters())
    assert not {id(each) for each in one._backbone.modules()} & {
        id(each) for each in policies.backbone.modules()
    }


def test_rollouts_without_tokens_need_no_pass(policies: Policies) -> None:
    one = SignalPass(
        policies.backbone, policies.processor, lambda _: Path("none"), SamplingContract(8), BOTH, 4
    )
    empty = Rollout("", (), (), (1,), "length", "solver-000000", 0)
    assert one.measured(policies.prompt, [empty]) == [empty]


@pytest.mark.parametrize("texts", [("", "7"), ("7", "", ""), ("", "", "7", "8", ""), ("", "7", "", "8")])
@pytest.mark.parametrize("rollouts_per_pass", [1, 2, 8])
def test_a_rollout_without_tokens_changes_no_other(
    policies: Policies, texts: tuple[str, ...], rollouts_per_pass: int
) -> None:
    """Alone in its forward pass, or beside others."""
    rollouts = [
        each if each.text else replace(each, token_ids=(), logprobs=())
        for each in policies.rollouts(1, *texts)
    ]
    measured = signal_pass_of(policies, rollouts_per_pass).measured(policies.prompt, rollouts)
    assert [each.text for each in measured] == [*texts]
    for before, after in zip(rollouts, measured, strict=True):
        if not before.token_ids:
            assert after is before
            continue
        expected = policies.one_at_a_time(before, 1.0)
        for name in BOTH:
            assert after.figures[name] == pytest.approx(expected[name], abs=1e-4)


@pytest.fixture(scope="module")
def generous_url(serve: Callable[..., str]) -> str:
    """The real vLLM serving the tiny model, which gives the log-probabilities of as many words as it is asked for."""
    return serve("--max-logprobs", "-1")


@pytest.mark.vllm
@pytest.mark.timeout(600)
def test_a_forward_pass_measures_the_distribution_that_vllm_sampled_from(
    policies: Policies, generous_url: str
) -> None:
    """At a temperature, with forbidden tokens, of an adapter that is far from the base model."""
    contract = SamplingContract(32, temperature=0.8, forbidden_token_ids=policies.forbidden)
    policy, request = "signals-solver-000001", policies.prompt.request(7)
    words = policies.backbone.config.get_text_config().vocab_size
    body = {
        "model": policy,
        "messages": with_image(request),
        "n": request.count,
        "seed": request.seed,
        "logprobs": True,
        "top_logprobs": words,
        "return_tokens_as_token_ids": True,
        "return_token_ids": True,
        **contract.request_fields(),
    }
    client = RolloutClient(generous_url, retry_budget_s=5)
    try:
        client.load_adapter(policy, str(policies.folder / "solver-000001"))
        answer = client.request("POST", CHAT, body).json()
        client.unload_adapter(policy)
    finally:
        client.close()
    forbidden = {f"token_id:{token_id}" for token_id in policies.forbidden}
    served = [
        [
            [word["logprob"] for word in token["top_logprobs"] if word["token"] not in forbidden]
            for token in choice["logprobs"]["content"]
        ]
        for choice in answer["choices"]
    ]
    rollouts = [
        Rollout("", tuple(choice["token_ids"]), (), tuple(answer["prompt_token_ids"]), "stop", policy, 7)
        for choice in answer["choices"]
    ]
    one = SignalPass(
        policies.backbone, policies.processor, lambda _: policies.folder / "solver-000001", contract, BOTH, 4
    )
    for rows, measured in zip(served, one.measured(policies.prompt, rollouts), strict=True):
        assert {len(row) for row in rows} == {words - len(forbidden)}
        expected = figures_of(rows)
        for name in BOTH:
            assert len(measured.figures[name]) > 0
            assert measured.figures[name] == pytest.approx(expected[name], abs=1e-3)


@pytest.mark.parametrize(
    ("dtype", "temperature", "tolerance"), [("float32", 1.0, 1e-4), ("bfloat16", 0.7, 0.2)]
)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_measured(
    family: str, dtype: str, temperature: float, tolerance: float, tmp_path: Path
) -> None:
    """As a plain forward pass of its own processor's inputs, whatever they are; one on a GPU is in bfloat16."""
    if family == "smolvlm":
        pytest.importorskip("num2words")
    policies = Policies(tmp_path, str(build(family, tmp_path / "model")))
    backbone = load_backbone(str(tmp_path / "model"), dtype).eval()
    forbid_tokens(backbone, policies.forbidden)
    contract = SamplingContract(64, temperature=temperature, forbidden_token_ids=policies.forbidden)
    one = SignalPass(backbone, policies.processor, lambda name: tmp_path / name, contract, BOTH, 2)
    for each in one.measured(policies.prompt, policies.rollouts(1, "one two", "7", "three\nfour")):
        expected = policies.one_at_a_time(each, temperature)
        for name in BOTH:
            assert len(each.figures[name]) == len(each.token_ids)
            assert each.figures[name] == pytest.approx(expected[name], abs=tolerance)


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({}, None),
        ({"final_logit_softcapping": None, "logits_scaling": 1.0}, None),
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0"),
        ({"logits_scaling": 8.0}, "logits_scaling = 8.0"),
    ],
)
def test_logits_that_change_after_the_head_are_not_measured(
    fields: dict[str, Any], changed: str | None
) -> None:
    config: Any = SimpleNamespace(get_text_config=lambda: SimpleNamespace(**fields))
    refuse_logits_changed_after_the_head(config, [])
    if changed is None:
        refuse_logits_changed_after_the_head(config, ["self_certainty"])
        return
    with pytest.raises(
        SettingsError, match=f"'self_certainty' is measured from the logits .* {changed} of this"
    ):
        refuse_logits_changed_after_the_head(config, ["self_certainty"])
