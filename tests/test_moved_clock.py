"""No test stops the clock of the servers that run beside it."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
_EVERYWHERE = re.compile(r"""setattr\(\s*(?:time\s*,|["'][\w.]*\btime\.\w+["'])""")


def test_only_the_modules_under_test_see_a_moved_clock() -> None:
    assert _EVERYWHERE.search('monkeypatch.setattr("package.module.time.monotonic", clock)')
    assert _EVERYWHERE.search("monkeypatch.setattr(\n    time, 'sleep', clock)")
    assert not _EVERYWHERE.search('monkeypatch.setattr("package.module.time", clock)')
    names = [
        str(path.relative_to(TESTS))
        for path in sorted(TESTS.rglob("*.py"))
        if path != Path(__file__) and _EVERYWHERE.search(path.read_text(encoding="utf-8"))
    ]
    assert names == [], "use tests.moved_clock"
