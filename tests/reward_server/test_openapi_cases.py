"""Requests generated from the committed OpenAPI document: every response is one that the document describes."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOCUMENT = Path("docs/openapi.json")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
CASES = 2_000


def without_waiting(document: dict[str, Any]) -> dict[str, Any]:
    """The document, with cohorts of one rollout, their deadline of 1 s, and deadlines of requests that can be met."""
    only = {"group_size": 1, "deadline_s": 1.0}
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] in only:
                    parameter["schema"] = {"enum": [only[parameter["name"]]]}
                    parameter["required"] = True
                if parameter["name"] == "x-request-timeout":
                    parameter["schema"] = {"type": "number", "minimum": 60}
    return document


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_2000_cases_without_a_failure(compass_url: str, tmp_path: Path) -> None:
    """Half of them follow the document, half violate it; `SCHEMATHESIS_EXAMPLES` raises their number."""
    document = tmp_path / "openapi.json"
    document.write_text(json.dumps(without_waiting(json.loads(DOCUMENT.read_text()))))
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(document),
        f"--url={compass_url}",
        f"--checks={','.join(CHECKS)}",
        "--phases=examples,coverage,fuzzing",
        f"--max-examples={os.environ.get('SCHEMATHESIS_EXAMPLES', '15')}",
        "--seed=1",
        "--request-timeout=60",
        "--suppress-health-check=all",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=550)
    assert ended.returncode == 0, ended.stdout
    counted = re.search(r"(\d+) generated, (\d+) passed", ended.stdout)
    assert counted is not None, ended.stdout
    assert int(counted[1]) == int(counted[2]) >= CASES
