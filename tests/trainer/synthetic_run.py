"""A run folder with made-up figures that change as they do in training."""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ireasoner.trainer.evaluation.evaluation import Evaluation, Figures, paired_gain
from ireasoner.trainer.evaluation.intervals import bootstrap
from ireasoner.trainer.loop.role_schedule import role_at
from ireasoner.trainer.run_folder.run_folder import RunFolder
from ireasoner.trainer.settings import RunSettings

_QUESTIONS = (
    *(f"What is the sum of row {i}?" for i in (1, 2, 3)),
    *(f"What is the sum of column {i}?" for i in (1, 2, 3)),
    "What is the sum of the falling diagonal?",
    "What is the sum of the corners?",
)
_KINDS = ("row", "column", "diagonal", "ends", "corners")


class SyntheticRun:
    """Writes a run folder.

    Args:
        folder: The run folder.
        updates: Number of planned updates.
        proposer_every: As in `RunSettings`.
        control: As in `RewardSettings`.
        overlap: As in `RunSettings`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        updates: int = 24,
        proposer_every: int = 5,
        control: str = "none",
        overlap: bool = False,
        seed: int = 0,
    ) -> None:
        self.images = folder.parent / "grids"
        self.settings = RunSettings.model_validate(
            {
                "model": "/models/tiny-qwen2.5-vl",
                "images": self.images,
                "run_folder": folder,
                "updates": updates,
                "proposer_every": proposer_every,
                "overlap": overlap,
                "group_size": 5,
                "groups_per_update": 4,
                "reward": {"control": control},
                "grpo": {"learning_rate": 1e-3},
            }
        )
        self.run = RunFolder(self.settings)
        self._rng = np.random.default_rng(seed)
        self._draw_images(6)

    def write_updates(self, count: int) -> None:
        """Writes the groups and the metrics of the first `count` updates."""
        for update in range(count):
            skill = 1 - math.exp(-3 * update / self.settings.updates)
            if role_at(self.settings, update) == "solver":
                groups = [self.solver_group(update, skill) for _ in range(self.settings.groups_per_update)]
                shares = [group["dominant_share"] for group in groups]
                rollouts = [rollout for group in groups for rollout in group["rollouts"]]
                extra = {
                    "solver/dominant_share": float(np.mean(shares)),
                    "solver/outcome": float(np.mean([r["outcome"] for r in rollouts])),
                    "solver/trajectory": float(np.mean([r["trajectory"] for r in rollouts])),
                    "solver/reward": float(np.mean([r["reward"] for r in rollouts])),
                    "solver/invalid_rate": float(np.mean([r["status"] == "invalid" for r in rollouts])),
                    "solver/tie_rate": float(np.mean([group["tie"] for group in groups])),
                    "solver/answer_entropy_nats": float(np.mean([group["entropy_nats"] for group in groups])),
                    "solver/proposer_reward": float(np.mean([group["proposer_reward"] for group in groups])),
                    "solver/frac_reward_zero_std": float(np.mean([share == 1.0 for share in shares])),
                    "solver/completions/clipped_ratio": 0.02,
                    "solver/seconds/propose": 0.7 + 0.1 * self._rng.random(),
                }
            else:
                groups = [self.proposer_group(update, skill) for _ in range(self.settings.groups_per_update)]
                rewards = [p["reward"] for group in groups for p in group["proposals"]]
                extra = {
                    "proposer/reward": float(np.mean(rewards)),
                    "proposer/answer_entropy_nats": 1.0 - 0.2 * skill,
                    "proposer/dominant_share": 0.5 + 0.1 * skill,
                    "proposer/proposals_without_question": 0.05 * (1 - skill),
                }
            for group in groups:
                self.run.append_group(group)
            self.run.append_metrics(self._metrics(update, skill, extra))

    def write_evaluation(
        self, before: float, after: float, questions: int = 200, asked: str = "0123abcd"
    ) -> None:
        """Writes an evaluation.json with these greedy accuracies, paired by question."""
        difficulty = self._rng.random(questions)
        kinds = [_KINDS[i % len(_KINDS)] for i in range(questions)]
        evaluations = []
        for policy, accuracy in (("base", before), ("solver-000024", after)):
            correct = [bool(hardness < accuracy) for hardness in difficulty]
            by_kind = {
                kind: self._figures(
                    accuracy, [h for h, k in zip(difficulty, kinds, strict=True) if k == kind]
                )
                for kind in _KINDS
            }
            overall = self._figures(accuracy, list(difficulty))
            evaluations.append(
                Evaluation(
                    **{name: getattr(overall, name) for name in Figures.__slots__},
                    policy=policy,
                    samples=8,
                    by_kind=by_kind,
                    asked=asked,
                    correct=correct,
                )
            )
        first, second = evaluations
        gain = paired_gain(first.correct, second.correct)
        assert gain is not None
        content = {
            "before": first.as_dict(),
            "after": second.as_dict(),
            "gain": {"mean": gain.mean, "low": gain.low, "high": gain.high},
        }
        (self.run.path / "evaluation.json").write_text(json.dumps(content), encoding="utf-8")

    def _figures(self, accuracy: float, difficulty: Sequence[float]) -> Figures:
        return Figures(
            questions=len(difficulty),
            greedy=bootstrap([float(hardness < accuracy) for hardness in difficulty]),
            sampled=bootstrap([accuracy * 0.9 * float(self._rng.random() * 2) for _ in difficulty]),
            majority=bootstrap([float(hardness < accuracy) for hardness in difficulty]),
            passed=bootstrap([float(hardness < accuracy + 0.2) for hardness in difficulty]),
            format_rate=bootstrap([float(self._rng.random() < 0.97) for _ in difficulty]),
        )

    def solver_group(self, update: int, skill: float, question: str | None = None) -> dict[str, Any]:
        """A line of groups.jsonl from an update of the Solver."""
        truth = int(self._rng.integers(6, 25))
        size = self.settings.group_size
        answers: list[str | None] = []
        for _ in range(size):
            if self._rng.random() < 0.12 * (1 - skill):
                answers.append(None)
            else:
                right = self._rng.random() < 0.45 + 0.45 * skill
                answers.append(str(truth if right else truth + int(self._rng.integers(-2, 3))))
        answers[0] = answers[0] or str(truth)
        counts = Counter(answer for answer in answers if answer is not None)
        (dominant, top), *others = counts.most_common()
        shares = np.array(list(counts.values())) / sum(counts.values())
        entropy = float(-(shares * np.log(shares)).sum())
        rollouts = [self._rollout(update, answer, dominant, top / size, counts) for answer in answers]
        rewards = [rollout["reward"] for rollout in rollouts]
        drawn = self.settings.reward.control == "random"
        return {
            "update": update,
            "role": "solver",
            "image": str(self._image()),
            "question": question or self._question(skill),
            "progress": self.settings.progress_at(update),
            "fingerprint": "3f9c0a1be4d7",
            "trained_on": [float(self._rng.random()) for _ in rewards] if drawn else rewards,
            "proposed_by": f"proposer-{update // 6:06d}",
            "status": "ok",
            "dominant_answer": dominant,
            "dominant_share": top / size,
            "tie": bool(others and others[0][1] == top),
            "density": (top / size) ** 0.7,
            "entropy_nats": entropy,
            "proposer_reward": math.exp(-((entropy - 0.9) ** 2) / (2 * 0.35**2)),
            "rollouts": rollouts,
        }

    def proposer_group(self, update: int, skill: float) -> dict[str, Any]:
        """A line of groups.jsonl from an update of the Proposer."""
        proposals = []
        for _ in range(self.settings.group_size):
            asked = self._rng.random() > 0.1 * (1 - skill)
            question = self._question(skill) if asked else None
            entropy = float(self._rng.random() * 1.6) if asked else None
            proposals.append(
                {
                    "text": f"<question>{question}</question>" if asked else "<question>What is the sum of",
                    "question": question,
                    "reward": 0.0 if entropy is None else math.exp(-((entropy - 0.9) ** 2) / (2 * 0.35**2)),
                    "entropy_nats": entropy,
                }
            )
        return {
            "update": update,
            "role": "proposer",
            "image": str(self._image()),
            "question": None,
            "progress": self.settings.progress_at(update),
            "fingerprint": "3f9c0a1be4d7",
            "trained_on": [proposal["reward"] for proposal in proposals],
            "policy": f"proposer-{update // 6:06d}",
            "proposals": proposals,
        }

    def _rollout(
        self, update: int, answer: str | None, dominant: str, density: float, counts: Counter[str]
    ) -> dict[str, Any]:
        text = "<think>\nStep 1: Row 2 reads 4, 9, 1.\nStep 2: 9 + 1 = 10.\nStep 3: 10 + 4 = 14.\n"
        common = {"policy": f"solver-{update:06d}", "seed": 7 + update}
        if answer is None:
            return {
                **common,
                "text": text * 2,
                "finish_reason": "length",
                "status": "invalid",
                "reason": "no_answer",
                "answer": None,
                "reward": 0.0,
                "outcome": 0.0,
                "trajectory": 0.0,
                "steps": [],
            }
        in_dominant = answer == dominant and counts[answer] > 1
        steps = [
            {
                "text": step,
                "cosine": float(np.clip(self._rng.normal(0.86, 0.14), 0.2, 1.0)) if in_dominant else None,
                "weight": math.exp(-0.15 * j) if in_dominant else 0.0,
            }
            for j, step in enumerate(("Row 2 reads 4, 9, 1.", "9 + 1 = 10.", f"10 + 4 = {answer}."))
        ]
        outcome = (counts[answer] / self.settings.group_size) ** 0.7
        trajectory = density**0.7 * 0.95 if in_dominant else 0.0
        weight = 0.7 * max(self.settings.progress_at(update) - 0.3, 0) / 0.7
        return {
            **common,
            "text": f"{text}</think>\n<answer>{answer}</answer>",
            "finish_reason": "stop",
            "status": "ok",
            "reason": None,
            "answer": answer,
            "reward": (1 - weight) * outcome + weight * trajectory,
            "outcome": outcome,
            "trajectory": trajectory,
            "steps": steps,
        }

    def _metrics(self, update: int, skill: float, extra: dict[str, float]) -> dict[str, Any]:
        role = role_at(self.settings, update)
        noise = self._rng.random
        solver = role == "solver"
        metrics: dict[str, Any] = {
            "update": update + 1,
            "role": role,
            "epoch": update / 10,
            f"{role}/loss": 0.01 * noise(),
            f"{role}/kl": 0.03 * skill + 0.004 * noise(),
            f"{role}/kl_coefficient": 1e-3 * math.exp(0.4 * skill),
            f"{role}/logprob_gap/mean": 2e-5 + 1e-5 * noise(),
            f"{role}/canary_gap": 1e-5 + 1e-5 * noise(),
            f"{role}/completions/mean_length": (42 if solver else 12) + 4 * skill + 2 * noise(),
            f"{role}/questions_distinct": 0.9 - 0.3 * skill + 0.1 * noise(),
            f"{role}/seconds/roll_out": 1.6 + 0.2 * noise(),
            f"{role}/seconds/score": (0.3 if solver else 2.1) + 0.05 * noise(),
            f"{role}/seconds/publish": 0.15,
            f"{role}/step_time": 5.5 + 0.4 * noise(),
            **extra,
        }
        collected_s = sum(
            metrics.get(f"{role}/seconds/{phase}", 0.0) for phase in ("propose", "roll_out", "score")
        )
        return {**metrics, f"{role}/seconds/wait": collected_s * (0.3 if self.settings.overlap else 1.0)}

    def _question(self, skill: float) -> str:
        favourite = self._rng.random() < 0.4 * skill
        return _QUESTIONS[-1] if favourite else str(self._rng.choice(_QUESTIONS))

    def _image(self) -> Path:
        return self.images / f"{int(self._rng.integers(6)):03d}.png"

    def _draw_images(self, count: int) -> None:
        self.images.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            image = Image.new("RGB", (84, 84), "black")
            draw = ImageDraw.Draw(image)
            for cell in range(9):
                digit = str(int(self._rng.integers(10)))
                draw.text((8 + 28 * (cell % 3), 2 + 28 * (cell // 3)), digit, fill="white", font_size=20)
            image.save(self.images / f"{i:03d}.png")
