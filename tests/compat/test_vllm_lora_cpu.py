"""Our replacements of vLLM's operators, compared with vLLM's own."""

import importlib
import importlib.util
import inspect
from types import ModuleType

import pytest
import torch

from ireasoner.compat import vllm_lora_cpu

TOKENS, FEATURES, RANK, OUT, SLOTS = 7, 12, 4, 10, 3


@pytest.fixture(scope="module")
def theirs() -> ModuleType:
    """vLLM's operators as released."""
    package = importlib.util.find_spec("vllm")
    assert package is not None
    assert package.submodule_search_locations
    path = f"{package.submodule_search_locations[0]}/lora/ops/torch_ops/lora_ops.py"
    spec = importlib.util.spec_from_file_location("released_lora_ops", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize("slots", [[0, 2, 1, 1, 0, 2, 2], [1] * TOKENS])
@pytest.mark.parametrize("add_inputs", [True, False])
@pytest.mark.parametrize("stacked", [(SLOTS,), (SLOTS, 1)])
def test_tokens_with_an_adapter_get_the_same_result_as_in_vllm(
    theirs: ModuleType, slots: list[int], add_inputs: bool, stacked: tuple[int, ...]
) -> None:
    indices = torch.tensor(slots)
    a, b = drawn(*stacked, RANK, FEATURES), drawn(*stacked, OUT, RANK)
    low = [torch.full((TOKENS, RANK), 5.0) for _ in range(2)]
    sliced = [drawn(TOKENS, OUT + 6) for _ in range(2)]
    whole = [drawn(TOKENS, OUT + 6) for _ in range(2)]
    for i, (shrink, expand_slice, expand) in enumerate(
        [
            (vllm_lora_cpu.shrink, vllm_lora_cpu.expand_slice, vllm_lora_cpu.expand),
            (theirs.bgmv_shrink, theirs.bgmv_expand_slice, theirs.bgmv_expand),
        ]
    ):
        shrink(drawn(TOKENS, FEATURES), a, low[i], indices, 0.5)
        expand_slice(low[i], b, sliced[i], indices, 3, OUT, add_inputs)
        expand(low[i], b, whole[i], indices, add_inputs)
    for ours, released in (low, sliced, whole):
        torch.testing.assert_close(ours, released)


def test_a_token_without_an_adapter_is_unchanged(theirs: ModuleType) -> None:
    indices = torch.tensor([0, -1, 1, -1, -1, 1, 0])
    bare = indices < 0
    x, a, b = drawn(TOKENS, FEATURES), drawn(SLOTS, RANK, FEATURES), drawn(SLOTS, OUT, RANK)
    low, before = torch.full((TOKENS, RANK), 5.0), drawn(TOKENS, OUT)
    vllm_lora_cpu.shrink(x, a, low, indices)
    assert (low[bare] == 0).all()
    assert (low[~bare] != 0).all()
    after = before.clone()
    vllm_lora_cpu.expand_slice(x[:, :RANK], b, after, indices, 0, OUT)
    assert torch.equal(after[bare], before[bare])
    assert (after[~bare] != before[~bare]).any(dim=1).all()
    released = before.clone()
    theirs.bgmv_expand_slice(x[:, :RANK], b, released, indices, 0, OUT)
    assert not torch.equal(released[bare], before[bare]), "vLLM has fixed this: remove the repair"


def test_a_batch_without_adapters_is_unchanged() -> None:
    indices = torch.full((TOKENS + 3,), -1)
    x, a, b = drawn(TOKENS, FEATURES), drawn(SLOTS, RANK, FEATURES), drawn(SLOTS, OUT, RANK)
    low, before = torch.full((TOKENS, RANK), 5.0), drawn(TOKENS, OUT)
    vllm_lora_cpu.shrink(x, a, low, indices)
    assert (low == 0).all()
    after = before.clone()
    vllm_lora_cpu.expand_slice(low, b, after, indices, 0, OUT)
    assert torch.equal(after, before)
    vllm_lora_cpu.expand_slice(low, b, after, indices, 0, OUT, add_inputs=False)
    assert (after == 0).all()


def test_indices_can_be_longer_and_activations_narrower() -> None:
    indices = torch.tensor([2] * (TOKENS - 1) + [0] * 5)
    x, a = drawn(TOKENS, FEATURES).bfloat16(), drawn(SLOTS, RANK, FEATURES).bfloat16()
    low = torch.empty(TOKENS, RANK)
    vllm_lora_cpu.shrink(x, a, low, indices, 0.5)
    expected = 0.5 * torch.stack(
        [a[slot].float() @ row.float() for slot, row in zip(indices, x, strict=False)]
    )
    torch.testing.assert_close(low, expected)


def test_every_operator_of_vllm_calls_ours(theirs: ModuleType) -> None:
    vllm_lora_cpu.multiply_by_adapter(theirs)
    assert (theirs.bgmv_shrink, theirs.bgmv_expand, theirs.bgmv_expand_slice) == (
        vllm_lora_cpu.shrink,
        vllm_lora_cpu.expand,
        vllm_lora_cpu.expand_slice,
    )
    indices, lengths = torch.tensor([1, -1]), torch.tensor([3, 4])
    x, b, before = drawn(TOKENS, RANK), drawn(SLOTS, OUT, RANK), drawn(TOKENS, OUT)
    after = before.clone()
    theirs.sgmv_expand_slice(x, b, after, lengths, lengths, indices, 2, 4, TOKENS, 0, OUT, True)
    torch.testing.assert_close(after[:3], before[:3] + x[:3] @ b[1].T)
    assert torch.equal(after[3:], before[3:])


class Wrapper:
    """As much of vLLM's wrapper as its layers use here: the slots of the tokens, and the general way."""

    def __init__(self, slots: list[int]) -> None:
        self.token_lora_indices = torch.tensor(slots)
        self.went_the_general_way = False

    def add_lora_linear(self, *_: object, **__: object) -> None:
        self.went_the_general_way = True


@pytest.fixture(scope="module")
def wrapper_type() -> type[Wrapper]:
    """`Wrapper`, repaired."""
    module = ModuleType("punica_cpu")
    repaired = type("PunicaWrapperCPU", (Wrapper,), {"add_lora_linear": Wrapper.add_lora_linear})
    module.__dict__["PunicaWrapperCPU"] = repaired
    vllm_lora_cpu.add_at_once(module)
    return repaired


@pytest.mark.parametrize("slots", [[0] * TOKENS, [2] * TOKENS, [2, 0, 1, 2, 2, 0, 1]])
@pytest.mark.parametrize("stacked", [(SLOTS,), (SLOTS, 1)])
@pytest.mark.parametrize("slices", [(OUT,), (OUT, 3, 3)])
@pytest.mark.parametrize("padding", [0, 5])
def test_adapters_are_added_to_a_layer_as_vllm_adds_them(
    theirs: ModuleType,
    wrapper_type: type[Wrapper],
    slots: list[int],
    stacked: tuple[int, ...],
    slices: tuple[int, ...],
    padding: int,
) -> None:
    wrapper, indices = wrapper_type(slots + [-1] * padding), torch.tensor(slots)
    x, before = drawn(TOKENS, FEATURES), drawn(TOKENS, sum(slices))
    a = [drawn(*stacked, RANK, FEATURES) + part for part in range(len(slices))]
    b = [drawn(*stacked, size, RANK) for size in slices]
    ours, released, offset = before.clone(), before.clone(), 0
    wrapper.add_lora_linear(ours, x, a, b, 0.5, slices)
    for part, size in enumerate(slices):
        low = torch.empty(TOKENS, RANK)
        theirs.bgmv_shrink(x, a[part], low, indices, 0.5)
        theirs.bgmv_expand_slice(low, b[part], released, indices, offset, size, True)
        offset += size
    torch.testing.assert_close(ours, released)
    assert not torch.equal(ours, before)
    assert not wrapper.went_the_general_way


@pytest.mark.parametrize("slots", [[-1] * TOKENS, [1, -1, 0, -1, 1, 1, -1]])
def test_tokens_without_an_adapter_add_nothing_to_a_layer(
    wrapper_type: type[Wrapper], slots: list[int]
) -> None:
    wrapper, bare = wrapper_type(slots), torch.tensor(slots) < 0
    before = drawn(TOKENS, OUT)
    after = before.clone()
    wrapper.add_lora_linear(
        after,
        drawn(TOKENS, FEATURES),
        [drawn(SLOTS, RANK, FEATURES)],
        [drawn(SLOTS, OUT, RANK)],
        1.0,
        (OUT,),
    )
    assert torch.equal(after[bare], before[bare])
    assert (after[~bare] != before[~bare]).any(dim=1).all()
    assert not wrapper.went_the_general_way


def test_an_empty_batch_adds_nothing(wrapper_type: type[Wrapper]) -> None:
    y = torch.empty(0, OUT)
    wrapper_type([]).add_lora_linear(
        y, torch.empty(0, FEATURES), [drawn(SLOTS, RANK, FEATURES)], [drawn(SLOTS, OUT, RANK)], 1.0, (OUT,)
    )
    assert y.shape == (0, OUT)


def test_adapters_of_several_blocks_are_added_to_inputs_with_gaps(wrapper_type: type[Wrapper]) -> None:
    """Slot 0 has one whole block, slot 2 one and a part."""
    slots = [0, 2, -1] * 16 + [2] * 5
    x = drawn(len(slots), 2 * FEATURES)[:, ::2]
    a, b, before = drawn(SLOTS, RANK, FEATURES), drawn(SLOTS, OUT, RANK), drawn(len(slots), OUT)
    after = before.clone()
    wrapper_type(slots).add_lora_linear(after, x, [a], [b], 0.5, (OUT,))
    for token, slot in enumerate(slots):
        added = torch.zeros(OUT) if slot < 0 else 0.5 * b[slot] @ (a[slot] @ x[token])
        torch.testing.assert_close(after[token], before[token] + added)


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
def test_lower_precisions_go_vllm_s_way(wrapper_type: type[Wrapper], weights: torch.dtype) -> None:
    wrapper = wrapper_type([1] * TOKENS)
    x, y = drawn(TOKENS, FEATURES).bfloat16(), drawn(TOKENS, OUT).to(weights)
    before = y.clone()
    a, b = drawn(SLOTS, RANK, FEATURES).to(weights), drawn(SLOTS, OUT, RANK).to(weights)
    wrapper.add_lora_linear(y, x, [a], [b], 1.0, (OUT,))
    assert wrapper.went_the_general_way
    assert torch.equal(y, before)


def test_vllm_s_layers_call_with_the_arguments_that_ours_takes() -> None:
    wrapper = importlib.import_module("vllm.lora.punica_wrapper.punica_cpu").PunicaWrapperCPU
    ours = inspect.signature(wrapper.add_lora_linear).parameters
    base = importlib.import_module("vllm.lora.punica_wrapper.punica_base").PunicaWrapperBase
    released = list(inspect.signature(base.add_lora_linear).parameters)
    assert list(ours)[:7] == released[:7]
    assert wrapper.add_lora_linear.__module__ == vllm_lora_cpu.__name__
