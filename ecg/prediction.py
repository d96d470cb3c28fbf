"""Annotates recordings with a fitted classifier: R peaks, classes and probabilities of all beats."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import wfdb
from numpy.typing import NDArray
from omegaconf import DictConfig
from scipy import signal as dsp
from scipy.special import softmax
from torch import Tensor

from ecg import build_network, onnx_files
from ecg.checkpoints import load_network
from ecg.config.schema import TrainConfig
from ecg.config.stored import load_config
from ecg.data.aami import CLASSES, labels_from_symbols
from ecg.data.beats import Beats
from ecg.data.filters import filter_zero_phase, working_type
from ecg.data.r_peaks import detect_r_peaks
from ecg.data.recording import Recording
from ecg.data.recording_files import RESULTS, recording_of_array
from ecg.data.window import KAGGLE_TIMES, Window, lead_index
from ecg.errors import UserError
from ecg.evaluation.adaptation import adapt
from ecg.evaluation.beat_matching import Comparison, compare_beats
from ecg.files import atomic_write
from ecg.model_files import read_model_file, write_model_file
from ecg.models.network import Network
from ecg.pretrained import find_model
from ecg.reports.recording_report import RecordingReport, write_recording_report

AT_ONCE = 1024  # single beats
FLAT_SECONDS = 1.0  # a lead that is constant for this long has no contact
LARGEST = 1e15  # magnitude of a sample; its square is a number in float32
MIN_BEATS = 2
DECIMALS = 4  # of times in s and of probabilities
STRIP_HIGHPASS = 0.5  # Hz; without it, the strip would show the drift of the electrodes
ANNOTATOR = "ecg"  # suffix of the annotation files


@dataclass(frozen=True)
class BeatClassifier:
    """A fitted classifier of beats, and what it needs to cut and predict the beats of a recording.

    Attributes:
        network: signals and features -> logits.
        window: the window that cuts the beats.
        classes: names of the classes.
        in_context: whether the network receives all beats of a recording at once.
        shifts: class -> what is added to its logit.
        temperature: the logits are divided by it.
        recentre: see `ecg.evaluation.adaptation.recentre`; None for none.
        vote: whether V, F and Q are decided by the shapes of the recording.
    """

    network: onnx_files.Logits
    window: Window
    classes: tuple[str, ...]
    in_context: bool
    shifts: Mapping[str, float]
    temperature: float
    recentre: float | None
    vote: bool

    def predict(
        self,
        signal: NDArray[Any],
        sfreq: float,
        leads: Sequence[str] | None = None,
        lead: str | None = None,
        *,
        r_peaks: NDArray[np.int64] | None = None,
    ) -> pd.DataFrame:
        """Returns a row for each beat of a signal; see `predict_beats` and `recording_of_array`."""
        return self.predict_recording(recording_of_array(signal, sfreq, leads, lead), r_peaks=r_peaks)

    @torch.inference_mode()
    def predict_cut_beats(self, signal: NDArray[Any]) -> pd.DataFrame:
        """Returns a row for each beat that was cut before, such as the rows of the Kaggle set or beats of `ecg.sample`.

        Columns: `class`, and `p_N` and so on, the probability of each class.

        Args:
            signal: (n, 187) or (n, 1, 187) beats of the window `kaggle`: scaled to [0, 1], zeros after their end.

        Raises:
            UserError: the classifier is one of another window, or the array has another shape or other values.
        """
        if not self.window.padded or self.vote or self.recentre is not None:
            raise UserError(
                "This classifier needs the recording around a beat. Use predict, or a classifier of the window kaggle."
            )
        beats = np.asarray(signal)
        if beats.shape[1:] not in ((KAGGLE_TIMES,), (1, KAGGLE_TIMES)) or not len(beats):
            raise UserError(
                f"The array of beats is {beats.shape}. It must be (n, {KAGGLE_TIMES}), or (n, 1, {KAGGLE_TIMES})."
            )
        if not np.issubdtype(beats.dtype, np.number) or not ((beats >= 0) & (beats <= 1)).all():
            raise UserError("The array of beats has a value that is not a number from 0 to 1.")
        signals = torch.from_numpy(beats.reshape(-1, 1, KAGGLE_TIMES).astype(np.float32))
        logits = self._single_logits(signals, torch.zeros(len(signals), 0))
        return pd.DataFrame(_class_columns(self.probability_of(logits.double().numpy()), self.classes))

    def predict_recording(self, recording: Recording, *, r_peaks: NDArray[np.int64] | None = None) -> pd.DataFrame:
        """Returns a row for each beat, in order; see `predict_beats`."""
        return self.predict_beats(recording, r_peaks=r_peaks)[0]

    def predict_beats(
        self, recording: Recording, *, r_peaks: NDArray[np.int64] | None = None
    ) -> tuple[pd.DataFrame, Beats]:
        """Returns a table with a row for each beat, in order, and the beats.

        Columns: `sample` and `time` (s) of the R peak, `rr` (s, from the beat before; NaN for the first), `class`, and
        `p_N` and so on, the probability of each class. Parts of the recording without contact have no beats.

        Args:
            recording: the recording; its annotations are not used.
            r_peaks: samples (n,) of the R peaks, ascending; None to detect them in the preferred lead.

        Raises:
            UserError: the lead has no contact throughout, there are fewer than two beats, or the R peaks are not
                ascending samples of the recording.
        """
        beats = self.cut(with_r_peaks(recording, r_peaks))
        return self.classify(beats), beats

    def cut(self, recording: Recording) -> Beats:
        """Returns the annotated beats of a recording, in order; the first lead is its preferred one.

        Args:
            recording: the recording, from `with_r_peaks`.

        Raises:
            UserError: the lead has no contact throughout, there are fewer than two beats, or the recording is too
                short.
        """
        if len(recording.sample) < MIN_BEATS:
            name, lead = recording.name, recording.preferred_lead
            if gaps(recording) == [(0.0, recording.signal.shape[1] / recording.sfreq)]:
                raise UserError(f"Lead {lead} of {name} has no contact throughout. Choose another lead with --lead.")
            raise UserError(
                f"{name} has {len(recording.sample)} R peaks in lead {lead}. At least {MIN_BEATS} are needed. Choose "
                "another lead with --lead."
            )
        return replace(self.window, lead=recording.preferred_lead).cut(recording)

    def classify(self, beats: Beats) -> pd.DataFrame:
        """Returns a table with a row for each beat of one recording, see `predict_beats`.

        Args:
            beats: all beats of the recording, in order, from `cut`.
        """
        return beat_table(beats.sample, beats.time, self.probability(beats), self.classes)

    @torch.inference_mode()
    def probability(self, beats: Beats) -> NDArray[np.float64]:
        """Returns the probabilities (n, n_classes) of the beats of a recording."""
        signal, features = torch.from_numpy(beats.signal), torch.from_numpy(beats.rr)
        if self.in_context:
            logits = self.network(signal[None], features[None])[0]
        else:
            logits = self._single_logits(signal, features)
        return self.probability_of(
            adapt(
                logits.double().numpy(),
                beats.record,
                self.window.qrs(beats.signal),
                self.classes,
                to=self.recentre,
                by_shape=self.vote,
            )
        )

    def _single_logits(self, signal: Tensor, features: Tensor) -> Tensor:
        """Signals (n, C, T) and features (n, R) of single beats -> logits (n, n_classes)."""
        parts = zip(signal.split(AT_ONCE), features.split(AT_ONCE), strict=True)
        return torch.cat([self.network(*part) for part in parts])

    def probability_of(self, logits: NDArray[np.floating]) -> NDArray[np.float64]:
        """Returns the probabilities (n, n_classes) of logits, with the shifts and the temperature."""
        offset = np.array([float(self.shifts.get(name, 0)) for name in self.classes])
        probability: NDArray[np.float64] = softmax((logits + offset) / self.temperature, axis=1)
        return probability


def beat_table(
    sample: NDArray[np.int64],
    time: NDArray[np.float64],
    probability: NDArray[np.float64],
    classes: Sequence[str],
    previous: float = np.nan,
) -> pd.DataFrame:
    """Returns the table of consecutive beats, see `BeatClassifier.predict_beats`.

    Args:
        sample: (n,) samples of the R peaks.
        time: (n,) the same in s.
        probability: (n, n_classes).
        classes: names of the classes.
        previous: time of the beat before in s; NaN for none.
    """
    columns = {"sample": sample, "time": time, "rr": np.diff(time, prepend=previous)}
    return pd.DataFrame(columns | _class_columns(probability, classes))


def _class_columns(probability: NDArray[np.float64], classes: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The columns `class`, and `p_N` and so on, of probabilities (n, n_classes)."""
    columns: dict[str, NDArray[Any]] = {"class": np.array(classes)[probability.argmax(axis=1)]}
    return columns | {f"p_{name}": probability[:, c] for c, name in enumerate(classes)}


def load_classifier(model: str | Path) -> BeatClassifier:
    """Returns a fitted classifier.

    Args:
        model: name of a released model, a run folder of train.py, a model file, or hf://USER/NAME.

    Raises:
        UserError: there is no such model, it is not a classifier, or a file is damaged.
    """
    path = find_model(model)
    if path.is_dir() or path.suffix != onnx_files.SUFFIX:
        return _classifier(*_fitted_network(path))
    return _classifier(*onnx_files.read_onnx(path))


def export_classifier(source: Path, path: Path, *, int8: bool = False) -> onnx_files.Int8Effect | None:
    """Writes a classifier to a model file or an ONNX file.

    Args:
        source: a run folder or a model file.
        path: the file.
        int8: whether the weights of an ONNX file are stored as int8.

    Returns:
        What the int8 weights change; None without them.

    Raises:
        UserError: the source holds no fitted classifier, or a file is damaged.
    """
    if not source.is_dir() and source.suffix == onnx_files.SUFFIX:
        raise UserError(f"{source} is an ONNX file already. Export the run folder or the file NAME.safetensors.")
    cfg, network = _fitted_network(source)
    if path.suffix == onnx_files.SUFFIX:
        return onnx_files.write_onnx(network, cfg, build_network.window(cfg), path, int8=int8)
    write_model_file(path, "classifier", cfg, network.state_dict(), {})
    return None


def _fitted_network(path: Path) -> tuple[DictConfig, Network]:
    """The configuration and the network of a run folder or a model file."""
    if path.is_dir():
        return _network_of_run(path)
    file = read_model_file(path, "classifier")
    network = _network(file.config)
    file.load_into(network)
    return file.config, network


def _network_of_run(folder: Path) -> tuple[DictConfig, Network]:
    cfg = load_config(folder, TrainConfig)
    path = Path(cfg.checkpoint or folder) / "checkpoints" / "best.ckpt"  # a run with `checkpoint` fits nothing
    if not path.is_file():
        raise UserError(f"{folder} holds no fitted classifier: {path} is missing.")
    if cfg.prediction.temperature is None or cfg.prediction.logit_adjustment:
        raise UserError(
            f"The run in {folder} chose its temperature or logit adjustment on validation beats. Evaluate it with "
            "checkpoint=RUN_DIR and numbers for prediction.temperature and prediction.shifts, and use that run."
        )
    network = _network(cfg)
    load_network(path, network)
    return cfg, network


def _network(cfg: DictConfig) -> Network:
    """The network of a configuration in evaluation mode, with random weights."""
    return build_network.network(cfg, build_network.window(cfg), tuple(cfg.protocol.classes)).eval()


def _classifier(cfg: DictConfig, network: onnx_files.Logits) -> BeatClassifier:
    window, classes, prediction = build_network.window(cfg), tuple(cfg.protocol.classes), cfg.prediction
    return BeatClassifier(
        network,
        window,
        classes,
        in_context=bool(cfg.data.get("context", 0)),
        shifts=dict(prediction.shifts or {}),
        temperature=prediction.temperature,
        recentre=prediction.recentre,
        vote=prediction.vote,
    )


# -- R peaks ------------------------------------------------------------------------------------------------------


def with_r_peaks(recording: Recording, r_peaks: NDArray[np.int64] | None = None) -> Recording:
    """Returns the recording with R peaks as annotations: the given ones (n,), or those in its preferred lead.

    Gaps, where a lead is not a number, beyond `LARGEST` or constant, are bridged by straight lines. Those of the
    preferred lead have no R peaks.

    Raises:
        UserError: the given R peaks are not ascending samples of the recording.
    """
    bridged, missing = bridge(recording.signal, recording.sfreq)
    index = lead_index(recording, recording.preferred_lead)
    if r_peaks is None:
        found = detect_r_peaks(bridged[index], recording.sfreq)
    else:
        found = _checked_peaks(r_peaks, bridged.shape[1])
    found = found[~missing[index][found]]
    return replace(recording, signal=bridged, sample=found, symbol=np.full(len(found), "N"))


def _checked_peaks(r_peaks: NDArray[Any], n_samples: int) -> NDArray[np.int64]:
    if r_peaks.ndim != 1 or not np.issubdtype(r_peaks.dtype, np.integer):
        raise UserError(f"The R peaks are {r_peaks.dtype} {r_peaks.shape}, instead of the numbers of samples (n,).")
    if len(r_peaks) and not (r_peaks[0] >= 0 and r_peaks[-1] < n_samples and (np.diff(r_peaks) > 0).all()):
        raise UserError(f"The R peaks are not ascending samples of a recording of {n_samples:,} samples.")
    return r_peaks.astype(np.int64)


def gaps(recording: Recording) -> list[tuple[float, float]]:
    """Returns start and end in s of the parts of the preferred lead without contact, in order; see `with_r_peaks`."""
    index = lead_index(recording, recording.preferred_lead)
    missing = bridge(recording.signal[index : index + 1], recording.sfreq)[1][0]
    edges = np.flatnonzero(np.diff(missing, prepend=False, append=False)) / recording.sfreq
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def bridge(signal: NDArray[Any], sfreq: float) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Returns leads (n_leads, n_samples) whose gaps are straight lines, and where these are (n_leads, n_samples)."""
    bridged = signal.astype(working_type(signal.shape[1], sfreq))
    missing = np.empty(bridged.shape, bool)
    for x, gap in zip(bridged, missing, strict=True):
        x[~((x > -LARGEST) & (x < LARGEST))] = np.nan
        gap[:] = np.isnan(x) | _constant(x, round(FLAT_SECONDS * sfreq))
        if gap.all():
            x[:] = 0
        elif gap.any():
            at, edges = np.flatnonzero(gap), np.flatnonzero(np.diff(gap))
            known = np.unique(edges + gap[edges])  # the samples next to the gaps
            x[at] = np.interp(at, known, x[known])
    return bridged, missing


def _constant(x: NDArray[Any], shortest: int) -> NDArray[np.bool_]:
    """Returns which samples are in a run of equal values that is at least `shortest` samples long."""
    equal = np.zeros(len(x) + 1, np.int8)  # whether a sample has the value of the one before
    equal[1:-1] = x[1:] == x[:-1]
    edges = np.diff(equal)
    first, last = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)  # samples of each run of equal values
    constant, long = np.zeros(len(x), bool), last - first + 1 >= shortest
    for start, end in zip(first[long], last[long], strict=True):
        constant[start : end + 1] = True
    return constant


# -- compare ------------------------------------------------------------------------------------------------------


def compare_with_annotations(table: pd.DataFrame, recording: Recording, classes: Sequence[str]) -> Comparison:
    """Returns the comparison of predicted beats with the annotations of the recording."""
    label = labels_from_symbols(recording.symbol)
    index = np.array([classes.index(name) if name in classes else -1 for name in CLASSES])
    beats = label >= 0
    return compare_beats(
        recording.sample[beats],
        index[label[beats]],
        table["sample"].to_numpy(),
        table["class"].map(list(classes).index).to_numpy(),
        classes,
        recording.sfreq,
    )


# -- write --------------------------------------------------------------------------------------------------------


def write_predictions(
    table: pd.DataFrame,
    recording: Recording,
    classes: Sequence[str],
    details: Mapping[str, str],
    folder: Path,
    *,
    overwrite: bool,
) -> list[Path]:
    """Writes the annotation file NAME.ecg, the table NAME.beats.csv and the report NAME.html; returns their paths.

    Args:
        table: result of `BeatClassifier.predict`.
        recording: the recording.
        classes: names of the classes.
        details: what was done, by heading, for the report.
        folder: the folder; created if missing.
        overwrite: whether existing files are replaced.

    Raises:
        UserError: a file exists, or the folder cannot be written.
    """
    paths = [folder / f"{recording.name}{suffix}" for suffix in (f".{ANNOTATOR}", RESULTS, ".html")]
    try:
        if (existing := [path for path in paths if path.exists()]) and not overwrite:
            raise UserError(f"{existing[0]} exists. Add --overwrite, or choose another folder with --out.")
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as temporary:
            # wfdb accepts letters, digits, hyphens and underscores in names.
            wfdb.wrann(
                "record",
                ANNOTATOR,
                table["sample"].to_numpy(),
                table["class"].tolist(),
                fs=recording.sfreq,
                write_dir=temporary,
            )
            content = (Path(temporary) / f"record.{ANNOTATOR}").read_bytes()
        with atomic_write(paths[0]) as path:
            path.write_bytes(content)
        with atomic_write(paths[1]) as path:
            table.round(DECIMALS).to_csv(path, index=False)
        write_recording_report(_report(table, recording, classes, details), paths[2])
    except OSError as error:
        raise UserError(
            f"Cannot write to {folder} ({error.strerror or error}). Choose another folder with --out."
        ) from error
    return paths


def _report(
    table: pd.DataFrame, recording: Recording, classes: Sequence[str], details: Mapping[str, str]
) -> RecordingReport:
    index = lead_index(recording, recording.preferred_lead)
    x = bridge(recording.signal[index : index + 1], recording.sfreq)[0][0]
    highpass = dsp.butter(2, STRIP_HIGHPASS, "highpass", fs=recording.sfreq, output="sos")
    return RecordingReport(
        recording.name,
        recording.preferred_lead,
        recording.sfreq,
        filter_zero_phase(highpass, x, recording.sfreq),
        table,
        classes,
        details,
    )
