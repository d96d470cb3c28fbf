"""Builds objects from the configuration: data, models and trainer. `ecg.build_network` builds windows and networks."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator, XLAAccelerator
from pytorch_lightning.callbacks import Callback, EarlyStopping, LearningRateMonitor
from pytorch_lightning.loggers import Logger

from ecg.augmentation.balance.balance import Balance, TrainingBeats
from ecg.augmentation.insertion import insert, single_beats, waveforms, with_copies
from ecg.augmentation.rhythm import RhythmSimulation
from ecg.augmentation.transforms.mix import Mix
from ecg.augmentation.transforms.transform import BeatFormat, MixTransform, Transform
from ecg.augmentation.transforms.waveform import Waveform
from ecg.build_network import instantiate_node, network, window
from ecg.callbacks import AdaptThreads, AtomicCheckpointIO, AveragedWeights, BatchSeed, Gallery, History, RunCheckpoint
from ecg.classifier import Classifier
from ecg.config.schema import ClassWeights
from ecg.config.stored import portable_config, schema_targets
from ecg.data.batch import Batch
from ecg.data.beats import Beats, Positions
from ecg.data.datamodule import BeatDataModule
from ecg.data.physionet import PhysioNet
from ecg.data.protocols.cross_database import CrossDatabase
from ecg.data.protocols.protocol import Protocol, Split
from ecg.data.source import RecordSource, Source
from ecg.data.wfdb_folder import WfdbFolder
from ecg.data.window import CenteredWindow, Window
from ecg.errors import UserError
from ecg.evaluation.beat_set import BeatSet
from ecg.evaluation.epoch_evaluator import EpochEvaluator
from ecg.evaluation.networks import CLASSIFIER_WIDTH, FitSettings, fit_classifier
from ecg.generators.canvas import Canvas
from ecg.generators.generator import Generator
from ecg.runs import Run, is_main_process
from ecg.synthesizer import Synthesizer
from ecg.threads import adapt_threads
from ecg.tracking.loggers import RunDescription
from ecg.training_memory import PROBE, require_space_for_parameters, require_step_memory

log = logging.getLogger(__name__)

MIN_CLASS_BEATS = 5  # fewest training beats of a class; the evaluation measures whether the generator copies them
# Training steps and width of an evaluation network. A narrow one learns the simulated recordings in few steps.
EVALUATION, EVALUATION_SIMULATED = (800, CLASSIFIER_WIDTH), (60, 24)
# Environment variables by which Lightning recognises torchrun, SLURM, LSF and MPI.
CLUSTER_VARIABLES = {"MASTER_ADDR", "SLURM_NTASKS", "LSB_JOBID", "OMPI_COMM_WORLD_SIZE"}


# -- data ---------------------------------------------------------------------------------------------------------


def cache_dir(cfg: DictConfig) -> Path:
    """The folder of prepared beats."""
    return Path(cfg.paths.cache_dir or platformdirs.user_cache_path("ecg") / "beats").expanduser()


def source(cfg: DictConfig) -> Source:
    """The source of the beats."""
    of_cutting = ("window", "lead", "leads", "before", "after", "sfreq", "difference")
    of_the_window = (*of_cutting, "features", "causal", "context")
    # A name such as 100 is a number in YAML.
    named = {str(record): str(patient) for record, patient in (cfg.data.get("patients") or {}).items()}
    patients = {"patients": named} if "patients" in cfg.data else {}
    made: Source = instantiate_node(cfg.data, drop=of_the_window, **patients)
    return made


def protocol(cfg: DictConfig) -> Protocol:
    """The protocol that splits them."""
    of_test = ("test", "test_dir", "test_records", "test_lead") if "test" in cfg.protocol else ()
    drop = ("name", "window", "lead", *of_test)
    partial = instantiate_node(cfg.protocol, drop=drop, keep=dict(cfg.protocol.keep or {}), _partial_=True)
    # Hydra would convert the source, which is a dataclass, so it is passed afterwards.
    made: Protocol = partial(test=_test_source(cfg.protocol)) if of_test else partial()
    return made


def _test_source(cfg: DictConfig) -> RecordSource:
    """The source of the test beats, where it differs from that of the training beats."""
    records = None if cfg.test_records is None else list(cfg.test_records)
    if cfg.test == "wfdb":
        return WfdbFolder(
            name="wfdb", records=records, dir=cfg.test_dir, annotator="atr", patients={}, prefix="protocol.test_"
        )
    return PhysioNet(name=cfg.test, records=records, dir=cfg.test_dir, url=None, prefix="protocol.test_")


def classification_data(cfg: DictConfig) -> BeatDataModule:
    """The data module of a classifier, with the balanced training beats of `augmentation`.

    Raises:
        UserError: the beats do not fit the protocol, or the synthetic set does not fit the beats.
    """
    beats, split, source, window, protocol = _split_beats(cfg)
    balance: Balance = instantiate_node(cfg.augmentation.balance)
    simulation: RhythmSimulation = instantiate_node(cfg.augmentation.rhythm, causal=cfg.data.get("causal", False))
    if balance.class_power != 1 and cfg.loss.class_weights != ClassWeights.none:
        log.warning(
            "augmentation=class_balanced and loss.class_weights=%s both correct the class imbalance, so rare classes "
            "will be predicted too often. Add loss.class_weights=none.",
            cfg.loss.class_weights,
        )
    context = cfg.data.get("context", 0)
    # Beats of the window kaggle have neither context nor features.
    inserted_by = window if isinstance(window, CenteredWindow) and (context or balance.inserts) else None
    training = TrainingBeats(
        waveforms(beats, inserted_by) if inserted_by else beats,
        split,
        source=source.name,
        window=inserted_by.of_leads if inserted_by else window,
        balance_to=cfg.augmentation.balance_to,
        fraction=cfg.augmentation.fraction,
        seed=cfg.seed,
        synthetic_set=Path(cfg.augmentation.beats) if cfg.augmentation.beats else None,
    )
    balanced, copies = balance(training), None
    if inserted_by and balanced is not None and len(balanced.label):
        copies = insert(beats, split, inserted_by, balanced, cfg.seed)
        if not context:
            balanced, copies = single_beats(balanced, copies, split), None
    rhythms = simulation(*with_copies(beats, split, copies), window.n_p_wave, cfg.seed)
    return BeatDataModule(
        beats,
        split,
        source=source,
        window=window,
        protocol=protocol,
        batch_size=cfg.optimizer.batch_size,
        seed=cfg.seed,
        class_power=balance.class_power,
        balanced=balanced,
        copies=copies,
        context=context,
        rhythms=rhythms,
    )


def synthesis_data(cfg: DictConfig) -> BeatDataModule:
    """The data module of a generator. Its beats are the waveforms of the leads, without features.

    Raises:
        UserError: the beats do not fit the protocol.
    """
    beats, split, source, window, protocol = _split_beats(cfg)
    if isinstance(window, CenteredWindow):
        beats, window = waveforms(beats, window), window.of_leads
    split = replace(split, train=_without_pairs(beats, split, cfg.fit.leave_out))
    return BeatDataModule(
        beats,
        split,
        source=source,
        window=window,
        protocol=protocol,
        batch_size=cfg.fit.batch_size,
        seed=cfg.seed,
        class_power=cfg.fit.class_power,
        paired=bool(cfg.generator.get("packed")),
    )


def _without_pairs(beats: Beats, split: Split, pairs: Sequence[str]) -> Positions:
    """The training beats without those of the pairs CLASS:RECORD."""
    kept = np.ones(len(split.train), bool)
    for pair in pairs:
        name, record = pair.split(":", 1)
        of_pair = (beats.record == record) & (split.labels(beats) == split.classes.index(name))
        if not of_pair[split.train].any():
            raise UserError(f"fit.leave_out has {pair}, but record {record} has no training beats of class {name}.")
        kept &= ~of_pair[split.train]
    return split.train[kept]


def _split_beats(cfg: DictConfig) -> tuple[Beats, Split, Source, Window, Protocol]:
    made_source, made_window, made_protocol = source(cfg), window(cfg), protocol(cfg)
    excluded = made_protocol.excluded_records(made_source)
    beats = made_source.load_beats(made_window, cache_dir(cfg), exclude=excluded)
    if isinstance(made_protocol, CrossDatabase):
        excluded = made_protocol.excluded_records(made_protocol.test)
        of_test = replace(made_window, lead=cfg.protocol.test_lead)
        beats = Beats.concatenate([beats, made_protocol.test.load_beats(of_test, cache_dir(cfg), exclude=excluded)])
    return beats, made_protocol.split(beats, made_source), made_source, made_window, made_protocol


def beat_set(data: BeatDataModule, positions: Positions) -> BeatSet:
    """The beats at `positions`, for the evaluation of synthetic beats."""
    return BeatSet(data.beats.signal[positions], data.labels[positions])


# -- models -------------------------------------------------------------------------------------------------------


def transforms(cfg: DictConfig, data: BeatDataModule) -> Waveform | None:
    """The active transforms of single beats; None if all are off.

    Raises:
        UserError: the records of recorded noise are missing, damaged or too short.
    """
    active = [transform for transform in _transforms(cfg) if isinstance(transform, Transform)]
    return Waveform(active, beat_format(data)) if active else None


def mix(cfg: DictConfig, data: BeatDataModule) -> Mix | None:
    """The active transforms that mix beats; None if all are off."""
    active = [transform for transform in _transforms(cfg) if isinstance(transform, MixTransform)]
    return Mix(active, n_classes=len(data.split.classes), padded=data.window.padded) if active else None


def _transforms(cfg: DictConfig) -> list[Transform | MixTransform]:
    made = [instantiate_node(node) for node in cfg.augmentation.transforms.values()]
    return [transform for transform in made if transform.active]


def beat_format(data: BeatDataModule) -> BeatFormat:
    """The properties of the beats that transforms depend on."""
    window = data.window
    return BeatFormat(
        sfreq=data.beats.sfreq,
        n_times=data.beats.signal.shape[2],
        peak=window.peak,
        padded=window.padded,
        highpass_hz=window.highpass_hz,
    )


def classifier(cfg: DictConfig, data: BeatDataModule) -> Classifier:
    """The classifier for these beats, initialised with `seed`.

    Raises:
        UserError: the beats are too short for the network.
    """
    n_times = data.beats.signal.shape[2]
    classes = data.split.classes
    known = cfg.model._target_ in schema_targets()  # the memory of other networks is not estimated
    if known:
        require_space_for_parameters(
            lambda: network(cfg, data.window, classes), Path(cfg.paths.run_dir), "model.hidden"
        )
    pl.seed_everything(cfg.seed, verbose=False)
    made = network(cfg, data.window, classes)
    if n_times < made.min_times:
        raise UserError(
            f"Beats of {n_times} samples are too short for this network, which needs {made.min_times}. Increase "
            "data.before, data.after or data.sfreq."
        )
    if known:
        # In context, a step has at least one whole sequence.
        batch_size = max(min(cfg.optimizer.batch_size, len(data.train_positions)), 2 * data.context + 1)
        beats = Batch(*(column[data.train_positions[:PROBE]] for column in data.tensors))
        if data.context:
            beats = Batch(*(column.unsqueeze(0) for column in beats))
        require_step_memory(
            made,
            lambda probe: list(probe.training_logits(beats.signal, beats.rr)),
            batch_size,
            _gpu_memory(cfg),
            "optimizer.batch_size or model.hidden",
        )
    return Classifier(
        made,
        instantiate_node(cfg.loss, counts=data.class_counts()),
        classes,
        lr=cfg.optimizer.lr,
        weight_decay=cfg.optimizer.weight_decay,
        warmup=cfg.optimizer.warmup,
        transforms=transforms(cfg, data),
        mix=mix(cfg, data),
    )


def synthesizer(cfg: DictConfig, data: BeatDataModule) -> Synthesizer:
    """The synthesizer for these beats, with the evaluator of its epochs, initialised with `seed`.

    Raises:
        UserError: a class has too few training beats.
    """
    classes, n_classes = data.split.classes, len(data.split.classes)
    for name, n in zip(classes, data.class_counts().tolist(), strict=True):
        if n < MIN_CLASS_BEATS:
            raise UserError(
                f"Class {name} has {n} training beats. A generator needs at least {MIN_CLASS_BEATS}. Leave the class "
                "out of protocol.classes, choose another protocol.split_seed, or use more data."
            )
    log.info("Training the classifier that evaluates the epochs of the generator")
    network = fit_classifier(beat_set(data, data.split.train), n_classes, evaluation_settings(cfg, data))
    evaluator = EpochEvaluator(network, *_compared_beats(data, cfg.seed), n_classes, cfg.fit.n_compared)
    _, n_channels, n_times = data.beats.signal.shape
    made = unfitted_synthesizer(cfg, (n_channels, n_times), classes, len(data.records), data.window.padded, evaluator)
    positions = torch.from_numpy(data.split.train)
    training = [column[positions] for column in data.tensors]
    signal, _, label, record = training
    made.generator.prepare(signal, label, record)
    if "N" in classes:  # also of records that are not fitted, so that beats can be drawn for them
        normal = data.tensors.label == classes.index("N")
        made.generator.embed_records(data.tensors.signal[normal], data.tensors.record[normal])
    np.add.at(made.record_counts.numpy(), (label.numpy(), record.numpy()), 1)
    beats = Batch(*(column[:PROBE] for column in training))
    require_step_memory(
        made.generator,
        lambda probe: [
            probe.loss(player, probe.canvas.encode(beats.signal), beats.label, beats.record, 0)["loss"]
            for player in probe.players
        ],
        min(cfg.fit.batch_size, len(positions)),
        _gpu_memory(cfg),
        "fit.batch_size or generator.hidden",
    )
    return made


def _compared_beats(data: BeatDataModule, seed: int) -> tuple[BeatSet, BeatSet]:
    """Real beats of the reference, and the beats that generated ones are compared with after each epoch.

    Where the validation beats are those of other patients, the generated beats are compared with training beats. Other
    patients are so far away that the distance to them hardly depends on the epoch.
    """
    if not data.split.by_patient:
        return beat_set(data, data.split.train), beat_set(data, data.split.validation)
    order = np.random.default_rng(seed).permutation(data.split.train)
    return beat_set(data, order[::2]), beat_set(data, order[1::2])


def _gpu_memory(cfg: DictConfig) -> float | None:
    """Bytes that are available on the CUDA GPU of the trainer; None if it uses another device."""
    on_gpu = cfg.trainer.accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    return torch.cuda.mem_get_info()[0] if on_gpu else None


def evaluation_settings(cfg: DictConfig, data: BeatDataModule) -> FitSettings:
    """The settings of every evaluation network."""
    steps, width = EVALUATION_SIMULATED if data.source.simulated else EVALUATION
    return FitSettings(
        steps=int(cfg.fit.evaluation_steps or steps),
        seed=cfg.seed,
        width=width,
        device=device(cfg),
        bfloat16=precision(cfg) == "bf16-mixed",
    )


def unfitted_synthesizer(
    cfg: DictConfig,
    shape: tuple[int, int],
    classes: Sequence[str],
    n_records: int,
    padded: bool,
    evaluator: EpochEvaluator | None = None,
) -> Synthesizer:
    """A synthesizer before its fit, for beats of `shape` (C, T)."""
    optimizer = {name: cfg.generator[name] for name in ("lr", "beta1", "beta2")}

    def make() -> Generator:
        sizes = {"canvas": Canvas(*shape, padded=padded), "n_classes": len(classes), "n_records": n_records}
        made: Generator = instantiate_node(cfg.generator, drop=tuple(optimizer), **sizes)
        return made

    if cfg.generator._target_ in schema_targets():
        require_space_for_parameters(make, Path(cfg.paths.run_dir), "generator.hidden")
    pl.seed_everything(cfg.seed, verbose=False)
    generator = make()
    return Synthesizer(
        generator,
        tuple(classes),
        torch.zeros(len(classes), n_records),
        evaluator=evaluator,
        lr=optimizer["lr"],
        betas=(optimizer["beta1"], optimizer["beta2"]),
        seed=cfg.seed,
        n_compared=cfg.fit.n_compared,
        reduced_precision=precision(cfg) == "bf16-mixed",
    )


# -- trainer ------------------------------------------------------------------------------------------------------


def prepare_hardware(cfg: DictConfig) -> None:
    """Refuses hardware that is not available, before records are downloaded and beats prepared.

    Also adapts the number of threads to other processes, and makes cuDNN compute float32 in full precision. By default
    it rounds the inputs of convolutions and LSTMs to 10 bits (TF32).

    Raises:
        UserError: the accelerator or the number of devices is not available, no cluster is detected for several
            nodes, or Lightning refuses the arguments.
    """
    cuda, mps = CUDAAccelerator.is_available(), MPSAccelerator.is_available()
    tpu = XLAAccelerator.is_available()
    available = {"auto": True, "cpu": True, "gpu": cuda or mps, "cuda": cuda, "mps": mps, "tpu": tpu}
    if not available.get(cfg.trainer.accelerator):
        names = ", ".join(name for name, present in available.items() if present)
        raise UserError(
            f"trainer.accelerator={cfg.trainer.accelerator} is not available on this machine. Available: {names}."
        )
    _require_devices(cfg)
    if cfg.trainer.num_nodes > 1 and not CLUSTER_VARIABLES & os.environ.keys():
        raise UserError(
            f"trainer.num_nodes is {cfg.trainer.num_nodes}, but this process is not part of a cluster job, so that it "
            "would wait for the other machines. Start it with srun or torchrun, or leave out trainer.num_nodes."
        )
    n_devices(cfg)
    torch.backends.cudnn.allow_tf32 = False
    adapt_threads()


def _require_devices(cfg: DictConfig) -> None:
    devices, accelerator = cfg.trainer.devices, cfg.trainer.accelerator
    if accelerator in ("tpu", "mps"):  # Lightning refuses too many of them
        return
    n_gpus = torch.cuda.device_count() if accelerator != "cpu" else 0
    needed = max(devices) + 1 if OmegaConf.is_list(devices) else devices
    if isinstance(needed, int) and needed > (n_gpus or os.cpu_count() or 1):
        available = f"{n_gpus} GPUs" if n_gpus else f"{os.cpu_count()} processors, one for each process"
        raise UserError(f"trainer.devices is {devices}, but this machine has {available}.")


def classification_trainer(cfg: DictConfig, run: Run) -> pl.Trainer:
    """The Trainer of a classifier. The best epoch has the highest validation macro-F1; without one, it is the last.

    Raises:
        UserError: Lightning refuses the arguments.
    """
    monitor: dict[str, Any] = {"monitor": "val/macro_f1", "mode": "max"}
    validated = bool(cfg.protocol.validation_fraction)
    best = monitor if validated else {"monitor": "step", "mode": "max", "save_on_train_epoch_end": True}
    arguments = {} if validated else {"limit_val_batches": 0}
    chosen = _callbacks(cfg, run, best, cfg.callbacks.ema_decay)
    if cfg.callbacks.patience is not None and validated:
        chosen.append(EarlyStopping(**monitor, patience=cfg.callbacks.patience, strict=False))
    return _trainer(cfg, run, "train", chosen, **arguments)


def synthesis_trainer(cfg: DictConfig, run: Run) -> pl.Trainer:
    """The Trainer of a generator. The best epoch has the largest coverage of real beats.

    Not the smallest Fréchet distance: it compares means and covariances only.

    Raises:
        UserError: Lightning refuses the arguments.
    """
    monitor = {"monitor": "val/coverage", "mode": "max"}
    callbacks = [*_callbacks(cfg, run, monitor, cfg.fit.ema_decay), Gallery()]
    return _trainer(cfg, run, "synth", callbacks, strategy=synthesis_strategy(cfg))


def synthesis_strategy(cfg: DictConfig) -> str:
    """`trainer.strategy` for a generator: a step uses the parameters of some players only, which DDP has to search.

    Raises:
        UserError: Lightning refuses the arguments.
    """
    strategy = str(cfg.trainer.strategy)
    if strategy == "auto" and n_devices(cfg) * cfg.trainer.num_nodes > 1:
        strategy = "ddp"
    searched = strategy.startswith("ddp") and "find_unused_parameters" not in strategy
    return f"{strategy}_find_unused_parameters_true" if searched else strategy


def _trainer(cfg: DictConfig, run: Run, job_type: str, callbacks: list[Callback], **arguments: Any) -> pl.Trainer:
    if is_main_process():
        run.add_provenance(threads=torch.get_num_threads())
        if cfg.trainer.precision == "auto":
            run.add_provenance(precision=" because ".join(best_precision(cfg.trainer.accelerator)))
    logger = _logger(cfg, run, job_type)
    if logger and not cfg.trainer.fast_dev_run:
        callbacks.append(LearningRateMonitor("step"))
    objects = {"logger": logger or False, "callbacks": callbacks, "plugins": [AtomicCheckpointIO()]}
    return _instantiate_trainer(cfg, **objects, **arguments)


def n_devices(cfg: DictConfig) -> int:
    """Number of devices of this machine that the trainer uses, each in a process.

    Raises:
        UserError: Lightning refuses the arguments.
    """
    return _instantiate_trainer(cfg, logger=False).num_devices


def device(cfg: DictConfig) -> torch.device:
    """The device that the trainer uses in this process.

    Raises:
        UserError: Lightning refuses the arguments.
    """
    return _instantiate_trainer(cfg, logger=False).strategy.root_device


def _instantiate_trainer(cfg: DictConfig, **objects: Any) -> pl.Trainer:
    _hide_library_messages()
    try:
        made: pl.Trainer = instantiate_node(cfg.trainer, precision=precision(cfg), **objects)
    except InstantiationException as error:
        raise UserError(f"Lightning refuses the trainer: {str(error.__cause__).splitlines()[0]}") from error
    return made


def _hide_library_messages() -> None:
    """Hides what Lightning prints about itself: tips, its deprecations, hints for data on disk."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    unwanted = ["LeafSpec", "does not have many workers", "smaller than the logging interval"]
    unwanted += ["recommended to use .*sync_dist"]  # torchmetrics gathers the scores of all processes
    unwanted += ["Experiment logs directory"]  # the run folder, which holds other files than those of the CSV logger
    for message in unwanted:
        warnings.filterwarnings("ignore", f".*{message}.*")


def _callbacks(cfg: DictConfig, run: Run, best: dict[str, Any], ema_decay: float | None) -> list[Callback]:
    chosen: list[Callback] = [History(), BatchSeed(cfg.seed), AdaptThreads()]
    if not cfg.trainer.barebones and cfg.trainer.enable_checkpointing is not False:
        folder = run.folder / "checkpoints"
        chosen.append(RunCheckpoint(folder, filename="best", enable_version_counter=False, **best))
        # A callback for the last epoch: Lightning's `save_last` is written only when an epoch is better.
        chosen.append(
            RunCheckpoint(folder, filename="last", save_on_train_epoch_end=True, enable_version_counter=False)
        )
    if ema_decay is not None:
        chosen.append(AveragedWeights(ema_decay))
    return chosen


def _logger(cfg: DictConfig, run: Run, job_type: str) -> Logger | None:
    if not is_main_process():
        return None
    config: Any = OmegaConf.to_container(portable_config(cfg, run.folder))
    description = RunDescription(
        folder=run.folder,
        name=cfg.name,
        sweep=run.sweep,
        job_type=job_type,
        tags=list(run.choices.values()),
        config={**config, "overrides": run.overrides, "choices": run.choices},
    )
    # Hydra would instantiate the nodes of the configuration inside of `description`, so it is passed afterwards.
    made: Logger | None = instantiate_node(cfg.logger, _partial_=True)(run=description)
    return made


def precision(cfg: DictConfig) -> str | None:
    """`trainer.precision`, with "auto" resolved."""
    given: str | None = cfg.trainer.precision
    return best_precision(cfg.trainer.accelerator)[0] if given == "auto" else given


def best_precision(accelerator: str) -> tuple[str, str]:
    """The fastest precision of this machine, and the reason.

    On a CPU that multiplies bfloat16 in hardware (AMX or AVX512-BF16), a training step in bf16-mixed is faster
    than in float32: 1.2 to 1.5 times with AVX512-BF16 (`benchmarks/step.py`).
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        supported = torch.cuda.is_bf16_supported(including_emulation=False)
        return ("bf16-mixed", "the GPU supports bfloat16") if supported else ("32-true", "the GPU has no bfloat16")
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return "32-true", "the GPU has no bfloat16"
    # Older releases of torch do not report the capabilities.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    for name, title in (("amx_bf16", "AMX"), ("avx512_bf16", "AVX512-BF16")):
        if capabilities.get(name):
            return "bf16-mixed", f"the CPU has {title}"
    return "32-true", "the CPU has neither AMX nor AVX512-BF16"
