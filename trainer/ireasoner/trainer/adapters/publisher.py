"""Publishing: an adapter that was just trained becomes a policy that can be sampled.

vLLM's prefix cache identifies an adapter by name and path, so new weights under an old name are served with key-value
blocks of the old ones. Each version therefore has a name and a folder of its own (`solver-000012`), and the previous
version is unloaded.
"""

import json
import logging
import math
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from peft import PeftModel
from safetensors import SafetensorError, safe_open

from ireasoner.trainer.adapters.backbone import language_model_layers
from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.adapters.first_process import FirstProcess, only_process
from ireasoner.trainer.errors import AdapterError, PolicyMissingError
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.settings import AdapterName

logger = logging.getLogger(__name__)

T = TypeVar("T")

RESTORES = 20
"""Times that a server may lose adapters while one request waits for it, however fast they are loaded again."""


class AdapterPublisher:
    """Publishes versions of each role's adapter to a running rollout server.

    Args:
        client: The rollout server, or its replicas, which all get every version.
        folder: Folder for adapters; the server must see the same path.
        prefix: Put before each name, so that several runs can share one server.
        write: Writes an adapter; see `write_adapter`.
        canary: Checks a published version; None checks nothing.
        canary_every: Publications of a role from one check to the next.
        keep: Versions of a role to keep: 2 if rollouts may still come from the one before the newest.
        retry_budget_s: Seconds from the first loss of adapters in which they may be loaded again.

    Attributes:
        canary_gap_nats: What the canary measured of the newest version, in nats per token (see `Canary.check`); None if
            it was not due.
    """

    def __init__(
        self,
        client: RolloutClient | RolloutReplicas,
        folder: Path,
        prefix: str = "",
        *,
        write: Callable[[PeftModel, AdapterName, Path], None] | None = None,
        canary: Canary | None = None,
        canary_every: int = 1,
        keep: int = 1,
        retry_budget_s: float = 300.0,
    ) -> None:
        self._client = client
        self._folder = folder.resolve()
        self._prefix = prefix
        self.write = write or write_adapter
        self._canary = canary
        self._canary_every = canary_every
        self._keep = keep
        self._retry_budget_s = retry_budget_s
        self.canary_gap_nats: float | None = None
        self._publications: Counter[AdapterName] = Counter()
        self._served: dict[AdapterName, list[str]] = {}
        self._unfinished: set[str] = set()

    def name(self, role: AdapterName, version: int) -> str:
        """The name under which version `version` of `role` is served."""
        return f"{self._prefix}{role}-{version:06d}"

    def folder(self, name: str) -> Path:
        """The folder of the version that is served as `name`."""
        return self._folder / name

    def served(self, role: AdapterName) -> str:
        """The name of the newest published version.

        Raises:
            AdapterError: No version was published.
        """
        if role not in self._served:
            raise AdapterError(f"no version of the {role} has been published")
        return self._served[role][-1]

    def policies(self) -> dict[AdapterName, str]:
        """The name of the newest published version of each role."""
        return {role: names[-1] for role, names in self._served.items()}

    def publish(
        self,
        policy: PeftModel,
        role: AdapterName,
        version: int,
        first_process: FirstProcess = only_process,
    ) -> str:
        """Writes the adapter, loads it under its new name, checks it, then unloads and deletes old versions.

        Of several processes, each calls this, and the first one writes and talks to the server.

        Raises:
            AdapterError: The adapter cannot be served as it was trained.
            PolicyMissingError: The server does not list it, however often it is loaded.
            RolloutMismatchError: The server's prompts are not the trainer's.
            CanaryError: The server serves another policy under the new name.
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        name, is_due = first_process(lambda: self._load(policy, role, version))
        self.canary_gap_nats = None
        if self._canary is not None and is_due:
            self.canary_gap_nats = self._canary.check(
                policy, role, name, lambda make: first_process(lambda: self.restored(make))
            )
        first_process(lambda: self._replace(role, name))
        return name

    def _load(self, policy: PeftModel, role: AdapterName, version: int) -> tuple[str, bool]:
        """Writes and loads a version; returns its name, and whether the canary's check is due."""
        name = self.name(role, version)
        path = self._folder / name
        self.write(policy, role, path)
        self._unfinished.add(name)
        self._client.load_adapter(name, str(path))
        self.restored(lambda: self._find(name))
        return name, self._canary is not None and self._publications[role] % self._canary_every == 0

    def _replace(self, role: AdapterName, name: str) -> None:
        """Makes a loaded version the newest one, and removes those that are no longer kept."""
        self._publications[role] += 1
        self._unfinished.discard(name)
        names = [*(each for each in self._served.get(role, []) if each != name), name]
        self._served[role] = names[-self._keep :]
        for old in names[: -self._keep]:
            self._client.unload_adapter(old)
            shutil.rmtree(self._folder / old, ignore_errors=True)

    def restored(self, ask: Callable[[], T]) -> T:
        """What `ask` returns; a server that lost adapters gets them back and is asked again.

        No request begins later than `retry_budget_s` after the first loss. One that began before has its own budget,
        so all waiting ends within two of them.

        Raises:
            PolicyMissingError: It went on losing them.
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        end_s = math.inf
        for _ in range(RESTORES):
            try:
                return ask()
            except PolicyMissingError as error:
                end_s = min(end_s, time.monotonic() + self._retry_budget_s)
                logger.warning("%s; it gets its adapters again", error)
                self.restore(end_s)
        return ask()

    def restore(self, end_s: float = math.inf) -> None:
        """Loads the versions that the server has lost; begins nothing at `end_s`, in monotonic seconds, or later.

        Raises:
            PolicyMissingError: It is that late.
            RolloutServerError: The server refused, or was unreachable for longer than the budget.
        """
        self._check_time(end_s)
        known = self._client.models()
        for name in self._names():
            if name not in known:
                self._check_time(end_s)
                self._client.load_adapter(name, str(self._folder / name))
        self._check_time(end_s)

    def _check_time(self, end_s: float) -> None:
        if time.monotonic() >= end_s:
            raise PolicyMissingError(
                f"{self._client.base_url} lost adapters, and did not have all of them again "
                f"{self._retry_budget_s:.0f} s later"
            )

    def _find(self, name: str) -> None:
        if name not in self._client.models():
            raise PolicyMissingError(f"{name} was loaded, but {self._client.base_url} does not list it")

    def withdraw(self) -> None:
        """Unloads every version that is still served, checked or not; keeps their folders."""
        for name in self._names():
            self._client.unload_adapter(name)
        self._served.clear()
        self._unfinished.clear()

    def _names(self) -> list[str]:
        return [*(name for names in self._served.values() for name in names), *sorted(self._unfinished)]


def version(name: str) -> int:
    """The version of the adapter that was published as `name`."""
    return int(name.rpartition("-")[2])


def refuse_what_vllm_ignores(policy: PeftModel, role: AdapterName, names: Sequence[str]) -> None:
    """Refuses weights outside the language model, which vLLM does not apply.

    Raises:
        AdapterError: There are such weights.
    """
    within = language_model_layers(policy.get_base_model())
    outside = sorted(name for name in names if not within.search(name))
    if outside:
        raise AdapterError(f"the {role}'s adapter has weights outside the language model: {outside[0]}")


def write_adapter(
    policy: PeftModel,
    role: AdapterName,
    path: Path,
    *,
    refuse: Callable[[PeftModel, AdapterName, Sequence[str]], None] = refuse_what_vllm_ignores,
) -> None:
    """Writes one role's adapter as a peft folder, which appears under `path` when it is complete.

    Args:
        policy: The policy with both adapters.
        role: The role to write.
        path: The new folder.
        refuse: Raises an `AdapterError` if the names of the weights show that the adapter cannot be served.

    Raises:
        AdapterError: The adapter has weights that vLLM would ignore, its rank or target modules differ from its config,
            or it could not be written (for example because the disk is full).
    """
    partial = path.with_name(f".{path.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        policy.save_pretrained(str(partial), selected_adapters=[role])
    except (OSError, SafetensorError) as error:
        raise AdapterError(f"the {role}'s adapter could not be written to {partial}: {error}") from error
    written = partial / role  # peft gives each named adapter a folder of its own
    config = json.loads((written / "adapter_config.json").read_text(encoding="utf-8"))
    with safe_open(written / "adapter_model.safetensors", framework="numpy") as weights:
        shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    refuse(policy, role, list(shapes))
    _refuse_another_shape(role, config, shapes)
    shutil.rmtree(path, ignore_errors=True)
    written.rename(path)
    shutil.rmtree(partial)


def _refuse_another_shape(
    role: AdapterName, config: Mapping[str, Any], shapes: Mapping[str, Sequence[int]]
) -> None:
    """Compares the weights with the adapter's config.

    Raises:
        AdapterError: A rank or a target module differs.
    """
    for name, shape in shapes.items():
        rank = shape[0] if ".lora_A." in name else shape[1]
        if rank != config["r"]:
            raise AdapterError(
                f"the {role}'s adapter has rank {config['r']} in its config, but {name} is {shape}"
            )
    layers = {name.rsplit(".lora_", 1)[0] for name in shapes}
    for target in config["target_modules"]:
        if not any(layer.endswith(f".{target}") for layer in layers):
            raise AdapterError(f"the {role}'s adapter has {target} in its config, but no weights of it")
