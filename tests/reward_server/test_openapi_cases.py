"""Requests made up from the committed OpenAPI document: whatever is sent, the answer is one that it tells of."""

import os
import re
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.timeout(600)
def test_2000_cases_without_a_failure(compass_url: str, tmp_path: Path) -> None:
    """Half of them follow the document, half break it; `SCHEMATHESIS_EXAMPLES` makes it more."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "run",
        str(DOCUMENT.resolve()),
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
