"""Faults of flags and settings name what is wrong, and suggest what was meant."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ireasoner.compat.flags import FlagsError, describe, read_flags


class Table(BaseModel):
    """A table."""

    model_config = ConfigDict(extra="forbid")

    r: int = Field(4, ge=1)
    target_modules: tuple[str, ...] = ()


class Toy(BaseSettings):
    """A command."""

    model_config = SettingsConfigDict(
        extra="forbid", env_prefix="TOY_", cli_prog_name="toy", cli_kebab_case=True, cli_implicit_flags=True
    )

    model: str
    run_folder: str = "r"
    updates: int = Field(3, ge=1)
    mode: Literal["adaptive", "fixed"] = "fixed"
    dry_run: bool = False
    lora: Table = Field(default_factory=Table)
    grpo: dict[str, Any] = Field(default_factory=dict)


def fault(words: list[str], **fields: Any) -> str:
    with pytest.raises(FlagsError) as raised:
        read_flags(Toy, words, **fields)
    return str(raised.value)


def test_flags_override_fields() -> None:
    read = read_flags(Toy, ["--model", "m", "--lora.r", "2", "--grpo", "a=1"], model="n", updates=9)
    assert (read.model, read.updates, read.lora.r, read.grpo) == ("m", 9, 2, {"a": "1"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--model is required"),
        (["--modle", "m"], "--modle: there is no such flag; did you mean --model?"),
        (["--run_folder", "x"], "--run_folder: there is no such flag; did you mean --run-folder?"),
        (["--update=3"], "--update: there is no such flag; did you mean --updates?"),
        (["--UPDATES", "3"], "--UPDATES: there is no such flag; did you mean --updates?"),
        (["--lora.rank", "3"], "--lora.rank: there is no such flag; did you mean --lora.r?"),
        (["--lora-r", "3"], "--lora-r: there is no such flag; did you mean --lora.r?"),
        (["--lora.target_modules", "a"], "did you mean --lora.target-modules?"),
        (["--dryrun"], "--dryrun: there is no such flag; did you mean --dry-run?"),
        (["--grpo.loss_type", "x"], "--grpo.loss_type: there is no such flag; write --grpo loss_type=VALUE"),
        (["--colour", "red"], "--colour: there is no such flag"),
        (["a", "b"], "unexpected arguments: a b"),
        (["--updates"], "argument --updates: expected one argument"),
        (["--grpo", "{bad"], "--grpo: write NAME=VALUE or a JSON object"),
        (["--grpo", "x"], "--grpo: write NAME=VALUE or a JSON object"),
        (["--model", "m", "--updates", "0"], "updates: Input should be greater than or equal to 1, not '0'"),
        (["--model", "m", "--updates", "ten"], "unable to parse string as an integer, not 'ten'"),
        (["--model", "m", "--mode", "fixd"], "mode: Input should be 'adaptive' or 'fixed', not 'fixd'"),
    ],
)
def test_a_wrong_flag_is_named(words: list[str], message: str) -> None:
    assert message in fault(words)


def test_every_fault_has_a_line() -> None:
    lines = fault(["--updates", "0"], lorra={}, lora={"rank": 1}).splitlines()
    assert len(lines) == 4
    assert (
        "lorra: there is no such setting; did you mean lora? The settings are dry_run, grpo, lora,"
        in "\n".join(lines)
    )
    assert any(
        "did you mean lora.r? The settings of lora are lora.r, lora.target_modules" in line for line in lines
    )


def test_a_mistyped_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_UPDATE", "3")
    assert fault(["--model", "m"]) == "TOY_UPDATE: there is no such variable; did you mean TOY_UPDATES?"
    monkeypatch.delenv("TOY_UPDATE")
    monkeypatch.setenv("TOY_UPDATES", "5")
    assert read_flags(Toy, ["--model", "m"]).updates == 5


def test_a_fault_in_a_file_names_the_setting_and_not_its_flag() -> None:
    with pytest.raises(ValidationError) as raised:
        Table.model_validate({"r": 0})
    assert describe(raised.value, Table) == "r: Input should be greater than or equal to 1, not 0"
    with pytest.raises(ValidationError) as raised:
        Toy.model_validate({})
    assert describe(raised.value, Toy) == "model is required"


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        read_flags(Toy, ["--help"])
    assert capsys.readouterr().out.startswith("usage: toy")
