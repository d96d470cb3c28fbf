"""Study: ONNX files of the released model, with float32 and with int8 weights.

    pip install -e ".[onnx]"
    ECG_DATA_DIR=... python studies/onnx_export.py

For each runtime: the size of the file, the time per beat relative to PyTorch, and on the annotated beats of records of
MIT-BIH and SVDB the macro-F1 (including adaptations to the record), the fraction of the labels that are those of
PyTorch, and the largest difference of a probability. `dynamic quantisation` is that of onnxruntime with its defaults
for convolutions (uint8, one scale per channel). The released model was fitted on these records, so its F1 is not that
of new patients. One thread is used, and the runtimes take turns. The result is results/onnx.json.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic
from sklearn.metrics import f1_score
from torch import Tensor

from ecg.data.aami import CLASSES
from ecg.data.databases import DATABASES
from ecg.data.physionet import PhysioNet
from ecg.files import write_json
from ecg.onnx_files import Logits, read_onnx
from ecg.prediction import BeatClassifier, export_classifier, load_classifier
from ecg.pretrained import find_model

ROOT = Path(__file__).parents[1]
MODEL = "inter_patient"


@dataclass
class Timed:
    """A network whose calls are timed, and its probabilities for each record."""

    network: Logits
    size: int
    seconds: float = 0.0
    probability: list[NDArray[np.float64]] = field(default_factory=list)

    def __call__(self, signal: Tensor, features: Tensor) -> Tensor:
        """Returns the logits."""
        start = time.perf_counter()
        logits = self.network(signal, features)
        self.seconds += time.perf_counter() - start
        return logits


def make_runtimes(model: BeatClassifier, folder: Path) -> dict[str, Timed]:
    """The released model in PyTorch and as ONNX files."""
    files = {name: folder / f"{name}.onnx" for name in ("ONNX", "ONNX --int8", "dynamic quantisation")}
    export_classifier(find_model(MODEL), files["ONNX"])
    export_classifier(find_model(MODEL), files["ONNX --int8"], int8=True)
    prepared = folder / "prepared.onnx"
    quant_pre_process(files["ONNX"], prepared, skip_symbolic_shape=True)
    quantize_dynamic(prepared, files["dynamic quantisation"], per_channel=True, weight_type=QuantType.QUInt8)
    runtimes = {name: Timed(read_onnx(path)[1], path.stat().st_size) for name, path in files.items()}
    return {"PyTorch": Timed(model.network, find_model(MODEL).stat().st_size), **runtimes}


def main(arguments: Sequence[str] | None = None) -> None:
    """Evaluates all runtimes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=5, help="every n-th record of each database")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "onnx.json")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load_classifier(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        runtimes = make_runtimes(model, Path(folder))
    label, used = [], {}
    for database in ("mitbih", "svdb"):
        source = PhysioNet(name=database, records=None, dir=None, url=None)
        present = [record for record in DATABASES[database].records if (source.folder / f"{record}.hea").is_file()]
        used[database] = present[:: options.every]
        for record in used[database]:
            beats = model.window.cut(source.read(record, model.window))
            known = np.array([CLASSES[c] in model.classes for c in beats.label])
            label.append(beats.label[known])
            for runtime in runtimes.values():
                runtime.probability.append(replace(model, network=runtime).probability(beats)[known])
            print(database, record, len(beats.label), flush=True)
    rows = [row(name, runtime, runtimes["PyTorch"], np.concatenate(label)) for name, runtime in runtimes.items()]
    for each in rows:
        print(each)
    versions = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__}
    write_json(
        options.out, {"model": MODEL, "records": used, "n_beats": sum(map(len, label)), **versions, "rows": rows}
    )


def row(name: str, runtime: Timed, reference: Timed, label: NDArray[np.int64]) -> dict[str, Any]:
    """The results of a runtime."""
    probability, expected = np.concatenate(runtime.probability), np.concatenate(reference.probability)
    predicted = probability.argmax(axis=1)
    return {
        "runtime": name,
        "bytes": runtime.size,
        "time": round(runtime.seconds / reference.seconds, 2),
        "macro_f1": float(f1_score(label, predicted, average="macro")),
        "equal_labels": float((predicted == expected.argmax(axis=1)).mean()),
        "largest_difference": float(np.abs(probability - expected).max()),
    }


if __name__ == "__main__":
    main()
