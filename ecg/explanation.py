"""What a classifier used to classify one beat: the parts of the beat and its neighbours, and the features.

The attribution of a value is its contribution to the log odds of a class, relative to the mean beat of the recording,
by integrated gradients: the gradient is averaged along the line from the mean beat to the beat, and multiplied by their
difference. The attributions add up to the difference of the log odds. Shifts, temperature and adaptations to the
recording are not part of them.

Source: Sundararajan, Taly and Yan 2017, ICML, arXiv:1703.01365, in the implementation of captum.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ecg.data.beats import Beats
from ecg.data.recording import Recording
from ecg.errors import INSTALL, UserError
from ecg.files import atomic_write
from ecg.prediction import BeatClassifier
from ecg.reports.explanation_plot import draw_explanation

STEPS = 64  # of the integral
CONTEXT = 24  # beats on each side, as in training; more distant ones change the logit little
MOST_DISTANT = 2.0  # s between the requested time and the beat


@dataclass(frozen=True)
class Explanation:
    """The attributions of one beat of a recording.

    Attributes:
        time: s, R peak of the beat.
        class_name: the class that is explained.
        probability: its probability.
        log_odds: log(p / (1 - p)) of the network's output for the beat, minus that for the mean beat; the attributions
            add up to it.
        neighbours: (K,) positions of the beats relative to the beat; 0 is the beat itself.
        times: (K,) s, their R peaks.
        signal: (K, T) the lead with the R peaks.
        signal_attribution: (K, T) attribution of each sample, summed over the channels.
        features: names of the features of a beat.
        feature_attribution: (R,) of the features of the beat.
        context_attribution: of the features of all other beats together.
        sfreq: sampling rate of the signals in Hz.
        peak: sample of the R peak.
    """

    time: float
    class_name: str
    probability: float
    log_odds: float
    neighbours: NDArray[np.int64]
    times: NDArray[np.float64]
    signal: NDArray[np.float32]
    signal_attribution: NDArray[np.float32]
    features: tuple[str, ...]
    feature_attribution: NDArray[np.float32]
    context_attribution: float
    sfreq: float
    peak: int


def explain_beat(
    classifier: BeatClassifier, recording: Recording, at: float, class_name: str | None = None
) -> Explanation:
    """Returns what a classifier used to classify the beat nearest to a time.

    Args:
        classifier: the classifier.
        recording: the recording.
        at: s from the start of the recording.
        class_name: the class that is explained; None for the predicted class.

    Raises:
        UserError: captum is missing, the classifier has no gradients, no beat is near, or the class is unknown.
    """
    network = classifier.network
    if not isinstance(network, nn.Module):
        raise UserError(
            "An ONNX file has no gradients. Use the run folder or the file .safetensors of this classifier."
        )
    if class_name is not None and class_name not in classifier.classes:
        raise UserError(f"This classifier has no class {class_name}. Its classes: {', '.join(classifier.classes)}.")
    table, beats = classifier.predict_beats(recording)
    i = int(np.abs(beats.time - at).argmin())
    if abs(beats.time[i] - at) > MOST_DISTANT:
        raise UserError(
            f"No beat is within {MOST_DISTANT:g} s of {at:g} s. The nearest one is at {beats.time[i]:.2f} s."
        )
    name = class_name or str(table["class"].iloc[i])
    reach = CONTEXT if classifier.in_context else 0
    chosen = np.arange(max(0, i - reach), min(len(beats.time), i + reach + 1))
    own = int(np.flatnonzero(chosen == i)[0])
    of_signal, of_features, difference = _attribute(
        network, beats, chosen, own, classifier.classes.index(name), in_context=classifier.in_context
    )
    return Explanation(
        time=float(beats.time[i]),
        class_name=name,
        probability=float(table[f"p_{name}"].iloc[i]),
        log_odds=difference,
        neighbours=chosen - i,
        times=beats.time[chosen],
        signal=beats.signal[chosen, 0],
        signal_attribution=of_signal.sum(dim=1).float().numpy(),
        features=classifier.window.feature_names,
        feature_attribution=of_features[own].float().numpy(),
        context_attribution=float(of_features.sum() - of_features[own].sum()),
        sfreq=beats.sfreq,
        peak=classifier.window.peak,
    )


def _attribute(
    network: nn.Module, beats: Beats, chosen: NDArray[np.int64], own: int, target: int, *, in_context: bool
) -> tuple[Tensor, Tensor, float]:
    """Returns the attributions of the signals (K, C, T) and features (K, R) of some beats, and their sum.

    Args:
        network: the network.
        beats: all beats of the recording, whose mean is the baseline.
        chosen: (K,) the beats that the network receives.
        own: index of the explained beat among them.
        target: index of the class.
        in_context: whether the network receives the beats as one sequence.

    Raises:
        UserError: captum is missing.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError as error:
        raise UserError(f"ecg explain needs: {INSTALL.format('explain')}.") from error

    columns = [torch.from_numpy(column) for column in (beats.signal, beats.rr)]
    inputs = tuple(x[chosen][None] if in_context else x[chosen] for x in columns)
    baseline = tuple(x.mean(dim=0).expand_as(part) for x, part in zip(columns, inputs, strict=True))

    def log_odds(*parts: Tensor) -> Tensor:
        logits: Tensor = network(*parts)  # (STEPS, K, n_classes), or of single beats (STEPS, n_classes)
        logits = logits + 0 * parts[1].sum()  # a network without features does not use them, which captum refuses
        logits = logits[:, own] if in_context else logits
        others = [c for c in range(logits.shape[1]) if c != target]
        return logits[:, target] - logits[:, others].logsumexp(dim=1)

    attributed = IntegratedGradients(log_odds).attribute(inputs, baseline, n_steps=STEPS, internal_batch_size=STEPS)
    of_signal, of_features = (x.reshape(len(chosen), *x.shape[1 + in_context :]) for x in attributed)
    with torch.no_grad():
        return of_signal, of_features, float(log_odds(*inputs) - log_odds(*baseline))


def write_explanation(beat: Explanation, name: str, path: Path) -> None:
    """Draws an explanation and writes it as PNG.

    Args:
        beat: the explanation.
        name: name of the recording, for the title.
        path: the file .png.

    Raises:
        UserError: the suffix is another one, or the file cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise UserError(f"{path} does not end in .png.")
    figure = draw_explanation(
        beat.neighbours,
        beat.signal,
        beat.signal_attribution,
        beat.features,
        beat.feature_attribution,
        beat.context_attribution,
        sfreq=beat.sfreq,
        peak=beat.peak,
        class_name=beat.class_name,
        title=f"{name}, beat at {beat.time:.2f} s: {beat.class_name} with probability {beat.probability:.3f}",
    )
    try:
        with atomic_write(path) as temporary:
            figure.savefig(temporary, dpi=110, format="png")
    except OSError as error:
        raise UserError(f"Cannot write {path} ({error.strerror or error}). Choose another file.") from error
