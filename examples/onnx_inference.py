"""Classifies the beats of a record with an ONNX file, without PyTorch and without this package.

    python train.py data=mitbih protocol=kaggle model=cnn
    ecg export RUN_DIR model.onnx
    python examples/onnx_inference.py model.onnx lead.npy peaks.txt --sfreq 360

lead.npy is an array (n_samples,) in any unit, and peaks.txt holds the sample of each R peak, one a line. The program
prints the sample, the class and the probabilities of each beat. It needs numpy, scipy and onnxruntime, and a model of
single beats with the window `kaggle`. What it does with the lead is also in the metadata of the file (`instructions`).
"""

import argparse
import json
from fractions import Fraction

import numpy as np
import onnxruntime
from scipy.signal import resample_poly
from scipy.special import softmax


def cut_beats(lead: np.ndarray, peaks: np.ndarray, sfreq: float, n_times: int) -> np.ndarray:
    """Returns the beats (n_peaks - 1, 1, n_times) of a lead: each lasts into the next beat, at 120 Hz, in [0, 1]."""
    if sfreq != 360:
        ratio = Fraction(360 / sfreq).limit_denominator(1000)
        lead = resample_poly(lead, ratio.numerator, ratio.denominator, padtype="line")
        peaks = np.minimum(np.rint(peaks * float(ratio)).astype(int), len(lead) - 1)
    peaks = np.append(peaks, len(lead))
    beats = np.zeros((len(peaks) - 2, 1, n_times), np.float32)
    for i, beat in enumerate(beats[:, 0]):
        end = peaks[i + 1] + int(0.2 * (peaks[i + 2] - peaks[i + 1]))
        crop = lead[peaks[i] : end : 3]
        if len(crop) and np.ptp(crop) > 0:
            kept = (crop - crop.min()) / np.ptp(crop)
            beat[: len(kept)] = kept[:n_times]
    return beats


def classify(model: str, lead: np.ndarray, peaks: np.ndarray, sfreq: float) -> tuple[list[str], np.ndarray]:
    """Returns the classes of a model, and the probabilities (n_peaks - 1, n_classes) of the beats."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    prediction = json.loads(metadata["prediction"])
    if json.loads(metadata["window"])["name"] != "kaggle" or json.loads(metadata["in_context"]):
        raise SystemExit(f"{model} is not a model of single beats with the window kaggle.")
    if prediction["vote"] or prediction["recentre"] is not None:
        raise SystemExit(f"{model} adapts its predictions to the record, which this program does not do.")
    if len(peaks) < 2:
        raise SystemExit("At least two R peaks are needed, since a beat lasts into the next one.")
    classes = json.loads(metadata["classes"])
    beats = cut_beats(lead, peaks, sfreq, int(metadata["n_times"]))
    (logits,) = session.run(["logits"], {"signal": beats})
    shifts = np.array([(prediction["shifts"] or {}).get(name, 0) for name in classes])
    return classes, softmax((logits.astype(float) + shifts) / prediction["temperature"], axis=1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="file written by ecg export")
    parser.add_argument("lead", help="file .npy")
    parser.add_argument("peaks", help="file with the samples of the R peaks")
    parser.add_argument("--sfreq", type=float, required=True, help="sampling rate of the lead in Hz")
    options = parser.parse_args()
    samples = np.loadtxt(options.peaks, dtype=int, ndmin=1)
    names, probability = classify(options.model, np.load(options.lead).astype(float), samples, options.sfreq)
    print("sample,class," + ",".join(f"p_{name}" for name in names))
    for sample, row in zip(samples, probability, strict=False):
        print(f"{sample},{names[row.argmax()]}," + ",".join(f"{value:.4f}" for value in row))
