"""The settings of `ireasoner demo`; apart from the demo, so that `--help` is there at once."""

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_HERE = Path(__file__).resolve().parent


class DemoSettings(BaseSettings):
    """Train the tiny model on unlabelled images and show what came of it; everything that it starts, it stops.

    By default the images are grids of handwritten digits, and the model is examined before and after on held-out
    grids whose answers nothing else sees.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
        cli_prog_name="ireasoner demo",
        env_prefix="IREASONER_DEMO_",
        cli_kebab_case=True,
    )

    out: Path = Path("runs/demo")
    """Run folder; if it is taken, a number is put behind it."""
    config: Path = _HERE / "demo.toml"
    """TOML file of the run."""
    model: str = str(_HERE / "demo_model")
    """The base model."""
    images: Path | None = None
    """Folder of unlabelled images (default: 2,000 grids of handwritten digits)."""
    questions: Path | None = None
    """JSON-lines file of labelled questions for the evaluation (default: held-out grids, if images is not given)."""
    updates: int | None = Field(None, ge=1)
    """Updates in all (default: the config's)."""
    evaluation_questions: int = Field(400, ge=1)
    """Held-out questions."""
    samples: int = Field(8, ge=1)
    """Rollouts a held-out question at temperature 1."""
    control: Literal["none", "random"] = "none"
    """random: train on random rewards instead; a control, which should gain nothing."""
    seed: int | None = Field(None, ge=0)
    """Seed of the run (default: the config's)."""
