"""Annotates recordings in files with a classifier, several of them in parallel processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch

from ecg import hub
from ecg.data.recording import Recording
from ecg.data.recording_files import read_recording
from ecg.errors import UserError
from ecg.evaluation.beat_matching import Comparison
from ecg.prediction import (
    BeatClassifier,
    compare_with_annotations,
    gaps,
    load_classifier,
    with_r_peaks,
    write_predictions,
)


@dataclass(frozen=True)
class AnnotationSettings:
    """How recordings are annotated.

    Attributes:
        model: see `load_classifier`.
        out: folder of the results; None for that of each recording.
        lead: lead with the R peaks; see `read_recording`.
        sfreq: sampling rate in Hz of files that do not state one.
        reference: suffix of annotation files to compare with; None for no comparison.
        overwrite: whether existing results are replaced.
    """

    model: str
    out: Path | None = None
    lead: str | None = None
    sfreq: float | None = None
    reference: str | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class Annotated:
    """The outcome for one recording.

    Attributes:
        name: name of the recording.
        counts: number of beats of each class.
        written: the files.
        gaps: the parts without contact, in words; None for none.
        comparison: with the reference annotations; None without.
        error: why the recording could not be annotated; None if it was.
    """

    name: str
    counts: dict[str, int]
    written: list[Path]
    gaps: str | None = None
    comparison: Comparison | None = None
    error: str | None = None


def annotate_recordings(
    paths: Sequence[Path], settings: AnnotationSettings, on_done: Callable[[], None], n_jobs: int | None = None
) -> Iterator[Annotated]:
    """Yields the outcome for each recording, in their order. A recording that fails does not stop the others.

    Args:
        paths: the recordings, see `ecg.data.recording_files.find_recordings`.
        settings: the settings.
        on_done: called after each recording.
        n_jobs: number of processes; None for one on each core.

    Raises:
        UserError: the classifier cannot be loaded.
    """
    _classifier(settings.model)  # here, so that its error is one message
    annotate = partial(_annotate_or_fail, settings=settings)
    n_jobs = min(len(paths), n_jobs or os.cpu_count() or 1)
    if n_jobs == 1:
        for path in paths:
            yield annotate(path)
            on_done()
        return
    # Processes that are not forked: a fork of a process with threads can hang.
    with ProcessPoolExecutor(n_jobs, get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for annotated in pool.map(annotate, paths):
            yield annotated
            on_done()


def _annotate_or_fail(path: Path, settings: AnnotationSettings) -> Annotated:
    try:
        return _annotate(path, settings)
    except UserError as error:
        return Annotated(path.name, {}, [], error=str(error))


def _annotate(path: Path, settings: AnnotationSettings) -> Annotated:
    classifier = _classifier(settings.model)
    recording = read_recording(path, sfreq=settings.sfreq, lead=settings.lead, annotator=settings.reference)
    without_contact = _describe_gaps(recording)
    name = settings.model if settings.model.startswith(hub.PREFIX) else Path(settings.model).name
    details = {"Recording": path.name, "Leads": ", ".join(recording.leads), "Model": name}
    details["Without contact"] = without_contact or "no part"
    # The leads and the beats of a day need much memory, so they are kept no longer than needed.
    annotated, recording = with_r_peaks(recording), _with_preferred_lead(recording)
    beats = classifier.cut(annotated)
    del annotated
    table, comparison = classifier.classify(beats), None
    del beats
    if settings.reference:
        comparison = compare_with_annotations(table, recording, classifier.classes)
    written = write_predictions(
        table, recording, classifier.classes, details, settings.out or path.parent, overwrite=settings.overwrite
    )
    counts = {name: int((table["class"] == name).sum()) for name in classifier.classes}
    return Annotated(recording.name, counts, written, without_contact, comparison)


def _with_preferred_lead(recording: Recording) -> Recording:
    """The recording with no other lead than its preferred one, that of the report."""
    index = recording.leads.index(recording.preferred_lead)
    return replace(recording, leads=(recording.preferred_lead,), signal=recording.signal[[index]])


def _describe_gaps(recording: Recording) -> str | None:
    """The parts of the preferred lead without contact, in words; None for none."""
    if not (found := gaps(recording)):
        return None
    seconds = sum(end - start for start, end in found)
    parts = "1 part" if len(found) == 1 else f"{len(found):,} parts, the first"
    return f"{seconds:,.1f} s of lead {recording.preferred_lead}, in {parts} at {found[0][0]:,.1f} s"


@lru_cache(maxsize=1)
def _classifier(model: str) -> BeatClassifier:
    """The classifier, loaded once in each process."""
    return load_classifier(model)
