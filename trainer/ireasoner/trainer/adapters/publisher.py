"""The hand-off: an adapter that was just trained becomes a policy that can be sampled from.

vLLM's prefix cache knows an adapter by its name and path, so new weights under an old name are served with
key-value blocks of the old ones. Each version therefore gets a name and a folder of its own (`solver-000012`), and
the one before it is unloaded.
"""

import json
import shutil
from collections import Counter
from pathlib import Path

from peft import PeftModel
from safetensors import SafetensorError, safe_open

from ireasoner.trainer.adapters.canary import Canary
from ireasoner.trainer.errors import AdapterError
from ireasoner.trainer.rollouts.client import RolloutClient
from ireasoner.trainer.rollouts.replicas import RolloutReplicas
from ireasoner.trainer.settings import Role


class AdapterPublisher:
    """Publishes versions of each role's adapter to a running rollout server.

    Args:
        client: The rollout server, or its replicas, which all get every version.
        folder: Where adapters are written; the server must see the same path.
        prefix: Put before each name, so that several runs can share one server.
        vision_tower: See `write_adapter`.
        canary: What proves a publication; none if None.
        canary_every: Publications of a role from one that is proved to the next.
        keep: Versions of a role that stay: 2 where rollouts may still be sampled from the one before the newest.
    """

    def __init__(
        self,
        client: RolloutClient | RolloutReplicas,
        folder: Path,
        prefix: str = "",
        *,
        vision_tower: bool = False,
        canary: Canary | None = None,
        canary_every: int = 1,
        keep: int = 1,
    ) -> None:
        self._client = client
        self._folder = folder.resolve()
        self._prefix = prefix
        self._vision_tower = vision_tower
        self._canary = canary
        self._canary_every = canary_every
        self._keep = keep
        self._publications: Counter[Role] = Counter()
        self._served: dict[Role, list[str]] = {}

    def name(self, role: Role, version: int) -> str:
        """The name that version `version` of `role` is served under."""
        return f"{self._prefix}{role}-{version:06d}"

    def served(self, role: Role) -> str:
        """The name of the newest published version.

        Raises:
            AdapterError: None was published.
        """
        if role not in self._served:
            raise AdapterError(f"no adapter of the {role} was published yet")
        return self._served[role][-1]

    def policies(self) -> dict[Role, str]:
        """The name of the newest published version of each role."""
        return {role: names[-1] for role, names in self._served.items()}

    def publish(self, policy: PeftModel, role: Role, version: int) -> str:
        """Writes the adapter, loads it under its new name, proves it, then unloads and deletes the too old.

        Raises:
            AdapterError: The adapter cannot be served as it is, or the server does not list it.
            CanaryError: The server serves another policy under its name.
            RolloutServerError: The server refused, or stayed away past the budget.
        """
        name = self.name(role, version)
        path = self._folder / name
        write_adapter(policy, role, path, vision_tower=self._vision_tower)
        self._client.load_adapter(name, str(path))
        if name not in self._client.models():
            raise AdapterError(f"{name} was loaded, but {self._client.base_url} does not list it")
        if self._canary is not None and self._publications[role] % self._canary_every == 0:
            self._canary.check(policy, role, name)
        self._publications[role] += 1
        names = [*(each for each in self._served.get(role, []) if each != name), name]
        self._served[role] = names[-self._keep :]
        for old in names[: -self._keep]:
            self._client.unload_adapter(old)
            shutil.rmtree(self._folder / old, ignore_errors=True)
        return name

    def restore(self) -> None:
        """Loads again what the server has lost, from the folders of the published versions.

        Raises:
            RolloutServerError: The server refused, or stayed away past the budget.
        """
        known = self._client.models()
        for name in self._names():
            if name not in known:
                self._client.load_adapter(name, str(self._folder / name))

    def withdraw(self) -> None:
        """Unloads every version that is still served; their folders stay."""
        for name in self._names():
            self._client.unload_adapter(name)
        self._served.clear()

    def _names(self) -> list[str]:
        return [name for names in self._served.values() for name in names]


def version(name: str) -> int:
    """The version of the adapter that was published as `name`."""
    return int(name.rpartition("-")[2])


def write_adapter(policy: PeftModel, role: Role, path: Path, *, vision_tower: bool = False) -> None:
    """Writes one role's adapter as a peft folder; it appears under `path` only when it is complete.

    Args:
        policy: Both roles' adapters.
        role: Whose.
        path: Where to.
        vision_tower: Allow weights on the vision tower, as the reference defect of that name has them.

    Raises:
        AdapterError: It has weights outside the language model, which vLLM would ignore, its rank or target modules
            are not those that its config says, or it could not be written (a full disk, say).
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
    outside = sorted(name for name in shapes if ".language_model." not in name)
    if outside and not vision_tower:
        raise AdapterError(f"the {role}'s adapter has weights outside the language model: {outside[0]}")
    for name, shape in shapes.items():
        rank = shape[0] if ".lora_A." in name else shape[1]
        if rank != config["r"]:
            raise AdapterError(f"the {role}'s adapter says rank {config['r']}, and {name} is {shape}")
    layers = {name.rsplit(".lora_", 1)[0] for name in shapes}
    for target in config["target_modules"]:
        if not any(layer.endswith(f".{target}") for layer in layers):
            raise AdapterError(f"the {role}'s adapter says that it has weights of {target}, and has none")
    shutil.rmtree(path, ignore_errors=True)
    written.rename(path)
    shutil.rmtree(partial)
