"""The summary table of a sweep of generators."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from ecg.comparison.generators import print_fidelity, read_fidelity
from ecg.evaluation.fidelity import CONTROLS, GATES, MEASURES, Fidelity, MeasureResult, MeasureValue


def make_fidelity(value: float, frechet: float) -> Fidelity:
    """Fidelity of beats with the same value of every measure but the Fréchet distance; the reference is 1."""

    def measure_value(key: str) -> MeasureValue:
        return MeasureValue(frechet if key == "frechet" else value, 1.0, dict.fromkeys(CONTROLS))

    measures = {
        key: MeasureResult(
            measure.title,
            measure.description,
            measure.better,
            measure_value(key),
            {name: measure_value(key) for name in "NS"},
        )
        for key, measure in MEASURES.items()
    }
    gates = tuple(result for gate in GATES if (result := gate.evaluate(measures)))
    return Fidelity(("N", "S"), {}, measures, gates, passed=all(gate.passed for gate in gates))


def make_generator_run(folder: Path, value: float, frechet: float) -> None:
    folder.mkdir(parents=True)
    subset = make_fidelity(value, frechet).to_json()
    content = {"fit": {}, "subsets": {"validation": subset, "test": subset}}
    (folder / "fidelity.json").write_text(json.dumps(content))
    (folder / "overrides.yaml").write_text(yaml.safe_dump([f"generator={folder.name}", "seed=1"]))


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of three generators: `worst` passes fewer gates than `best` and `second`."""
    make_generator_run(tmp_path / "0_worst", value=0.5, frechet=1.2)
    make_generator_run(tmp_path / "1_second", value=1.0, frechet=1.8)
    make_generator_run(tmp_path / "2_best", value=1.0, frechet=1.5)
    (tmp_path / "3_failed").mkdir()
    return tmp_path


def test_generators_are_ranked_by_gates_then_by_frechet_distance(sweep: Path) -> None:
    table = read_fidelity(sweep)
    assert table["run"].tolist() == ["2_best", "1_second", "0_worst"]
    assert table["overrides"][0] == "generator=2_best seed=1"
    assert table["validation Fréchet"].tolist() == [1.5, 1.8, 1.2]


def test_the_table_has_a_column_for_each_gate_of_each_subset(sweep: Path) -> None:
    table = read_fidelity(sweep)
    n_gates = len(make_fidelity(1.0, 1.0).gates)
    for subset in ("validation", "test"):
        columns = [name for name in table.columns if name.startswith(subset)]
        assert len(columns) == n_gates + 2
        assert table[f"{subset} gates passed"].str.endswith(f" of {n_gates}").all()
    assert table["test TSTR recall ratio S"].tolist() == [1.0, 1.0, 0.5]
    assert "F" not in " ".join(table.columns).split()  # a class without beats has no gate


def test_a_sweep_without_an_evaluated_generator_gives_an_empty_table(tmp_path: Path) -> None:
    assert read_fidelity(tmp_path).empty


def test_the_table_is_printed(sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    print_fidelity(read_fidelity(sweep))
    output = capsys.readouterr().out
    assert "evaluated on the validation beats" in output
    assert output.index("2_best") < output.index("1_second") < output.index("0_worst")
