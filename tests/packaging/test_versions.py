"""One version, wherever it is written."""

import re
import tomllib

from tests.packaging.conftest import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
PLACES = {
    "clients/pyproject.toml": r'^version = "(.*)"',
    "pyproject.toml": r"ireasoner-client==([\d.]+)",
    "docker/compose.yaml": r"\$\{VERSION:-([\d.]+)\}",
    "docker/README.md": r"images' tag \| ([\d.]+)",
    "docker/reward-server.Dockerfile": r"^ARG VERSION=(.*)",
    "docker/rollout-server.Dockerfile": r"^ARG VERSION=(.*)",
    "docker/trainer.Dockerfile": r"^ARG VERSION=(.*)",
    "deploy/kubernetes/reward-server.yaml": r"image: ireasoner/reward-server:([\d.]+)",
    "docs/upgrading.md": r"^## From \S+ to (\S+)",
}


def test_every_file_names_the_version_of_the_project() -> None:
    for file, pattern in PLACES.items():
        written = re.findall(pattern, (ROOT / file).read_text(), re.MULTILINE)
        assert written, file
        newest = written[:1] if file.startswith("docs") else written
        assert set(newest) == {VERSION}, file


def test_the_changelog_has_dated_versions() -> None:
    """The newest first; what is not released yet is above them."""
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    released = headings[headings[0] == "Unreleased" :]
    assert released
    for heading in released:
        assert re.fullmatch(r"\d+\.\d+\.\d+ - \d{4}-\d\d-\d\d", heading), heading
    versions = [tuple(map(int, each.split(" ")[0].split("."))) for each in released]
    assert versions == sorted(versions, reverse=True)
