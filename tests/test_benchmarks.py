"""Every benchmark and the figure of the transforms run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import ROOT, load_module, run


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.py")), ids=lambda path: path.stem)
def test_every_benchmark_runs_in_tiny_mode(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if path.stem == "day" and sys.platform != "linux":
        pytest.skip("reads /proc")
    monkeypatch.syspath_prepend(str(path.parent))
    benchmark = load_module(path)
    if path.stem == "busy":  # starts train.py twice; here in this process
        replaced = SimpleNamespace(run=run_in_this_process, Popen=benchmark.subprocess.Popen)
        monkeypatch.setattr(benchmark, "subprocess", replaced)
    benchmark.main(["--tiny"])
    assert capsys.readouterr().out.strip()


def run_in_this_process(call: list[str], **_: object) -> None:
    ended = run(Path(call[1]).stem, *call[2:])
    assert ended.returncode == 0, ended.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_long_recording_needs_little_memory() -> None:
    day = load_module(ROOT / "benchmarks" / "day.py")
    *_, of_imports = day.measure(hours=0.02, gaps=False)
    *_, peak = day.measure(hours=4, gaps=True)
    assert peak - of_imports < 150


@pytest.mark.slow
def test_the_figure_of_the_transforms_is_drawn(tmp_path: Path) -> None:
    load_module(ROOT / "studies" / "transforms_figure.py").main([str(tmp_path / "figure.png")])
    assert (tmp_path / "figure.png").stat().st_size > 50_000
