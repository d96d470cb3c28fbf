"""Every benchmark runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from programs import ROOT, load_module


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_runs_in_tiny_mode(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(path.parent))
    load_module(path).main(["--tiny"])
    assert capsys.readouterr().out.strip()
