"""The one place where configuration becomes objects."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs
import pytorch_lightning as pl
import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator, XLAAccelerator
from pytorch_lightning.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)
from pytorch_lightning.loggers import CSVLogger, Logger

from ecg.augmentation.balance import Balanced, missing, oversample, smote, target_of, undersample
from ecg.augmentation.transforms import Mix, Waveform
from ecg.callbacks import BatchSeed, ema
from ecg.classifier import Classifier
from ecg.config import Balance, ClassWeights
from ecg.data import synthetic
from ecg.data.beats import HIGHPASS_HZ, Beats
from ecg.data.datamodule import BeatDataModule
from ecg.data.noise import noise_folder, read_noise
from ecg.data.sources import Source
from ecg.data.splits import Positions, Protocol, Split
from ecg.errors import UserError
from ecg.evaluation.distances import EpochJudge
from ecg.evaluation.judges import Cohort, fit_classifier
from ecg.generators.canvas import Canvas
from ecg.synthesizer import Synthesizer

if TYPE_CHECKING:
    from ecg.runs import Run

log = logging.getLogger(__name__)

FEWEST_TO_LEARN = 20  # training beats of a class: below it, a generator only copies
CLASSIFIED = ("val/macro_f1", "max")  # by what the best epoch of a classifier is chosen
SYNTHESISED = ("val/frechet", "min")  # and that of a generator


def cache_dir(cfg: DictConfig) -> Path:
    """Folder of the prepared beats."""
    return Path(cfg.paths.cache_dir or platformdirs.user_cache_path("ecg") / "beats").expanduser()


def source(cfg: DictConfig) -> Source:
    """Where beats come from: `data`."""
    arguments = _arguments(cfg.data, drop=("window",) if cfg.data.name == "kaggle_csv" else ())
    if "patients" in arguments:
        arguments["patients"] = arguments["patients"] or {}
    return instantiate(arguments)


def protocol(cfg: DictConfig) -> Protocol:
    """How they are divided: `protocol`."""
    arguments = _arguments(cfg.protocol, drop=("name", "window", "lead"))
    return instantiate({**arguments, "keep": arguments["keep"] or {}})


def datamodule(cfg: DictConfig) -> BeatDataModule:
    """Beats of `data`, divided by `protocol`."""
    divide = protocol(cfg)
    beats = source(cfg).beats(cache_dir(cfg), exclude=divide.excluded(cfg.data.name))
    split = divide.split(beats, cfg.data.name)
    if "fit" in cfg:
        f = cfg.fit
        return BeatDataModule(beats, split, batch_size=f.batch_size, seed=cfg.seed, class_power=f.class_power)
    _warn_of_two_corrections(cfg)
    evenly = cfg.augmentation.balance == Balance.class_balanced
    return BeatDataModule(
        beats,
        split,
        batch_size=cfg.optimizer.batch_size,
        seed=cfg.seed,
        class_power=0.0 if evenly else 1.0,
        balanced=balanced(cfg, beats, split),
    )


def balanced(cfg: DictConfig, beats: Beats, split: Split) -> Balanced | None:
    """What `augmentation` leaves out of the training beats and adds to them; None for nothing.

    Raises:
        UserError: a synthetic set that does not fit, or holds too few beats.
    """
    a = cfg.augmentation
    method = Balance(a.balance)
    if method in (Balance.none, Balance.class_balanced):
        return None
    signal, rr, label = beats.signal[split.train], beats.rr[split.train], split.label_of(beats)[split.train]
    counts = dict(zip(split.classes, np.bincount(label, minlength=len(split.classes)).tolist(), strict=True))
    wanted = missing(counts, a.balance_to, a.share)
    added = {split.classes.index(name): n for name, n in wanted.items()}
    rng = np.random.default_rng(cfg.seed)
    log.info("Balance %s: %s", method, ", ".join(f"{name} + {n:,}" for name, n in wanted.items()) or "nothing to add")
    if method == Balance.undersample:
        kept = undersample(label, target_of(counts, a.balance_to), rng)
        return Balanced(kept, signal[:0], rr[:0], label[:0])
    if method == Balance.oversample:
        return oversample(signal, rr, label, added, rng)
    if method == Balance.gan:
        fitting = synthetic.read(Path(a.beats))
        synthetic.require_fit(fitting, beats, split, source=cfg.data.name, window=synthetic.window_of(cfg.data))
        at = fitting.first(wanted, a.beats)
        told = {
            key: fitting.provenance.get(key)
            for key in ("sha256", "generator", "checkpoint", "artifact", "gates_on_validation")
        }
        origin = {"beats": str(a.beats), **told}
        labels = np.repeat(np.array([*added], np.int64), [*added.values()])
        return Balanced(np.arange(len(label)), fitting.signal[at], fitting.rr[at], labels, origin)
    tomek = method == Balance.smote_tomek
    return smote(signal, rr, label, added, cfg.seed, names=split.classes, tomek=tomek)


def _warn_of_two_corrections(cfg: DictConfig) -> None:
    """Weights of the classes follow the beats that train, added ones among them; a sampler they do not know of."""
    if cfg.augmentation.balance == Balance.class_balanced and cfg.loss.class_weights != ClassWeights.none:
        log.warning(
            "augmentation=class_balanced and loss.class_weights=%s correct the imbalance twice: rare classes will be "
            "predicted too often. Add loss.class_weights=none.",
            cfg.loss.class_weights,
        )


def transforms(cfg: DictConfig, data: BeatDataModule) -> Waveform | None:
    """The transforms of single beats that are switched on in `augmentation`; None where all are off.

    Raises:
        UserError: recorded noise is asked for, and its records are absent, broken or too short.
    """
    strengths = _arguments(cfg.augmentation.transforms, drop=("mixup", "cutmix"))
    strengths.pop("_convert_")
    if not any(value not in (None, 0.0) for key, value in strengths.items() if key != "hum_hz"):
        return None
    recorded, padded = None, str(cfg.data.window) == "kaggle"
    if strengths["recorded_snr"] is not None:
        # Centred beats are high-passed, and so is what is added to them.
        folder, n_times = noise_folder(cfg.augmentation.noise_dir), data.beats.signal.shape[2]
        recorded = torch.from_numpy(read_noise(folder, data.beats.sfreq, n_times, None if padded else HIGHPASS_HZ))
    return Waveform(sfreq=data.beats.sfreq, padded=padded, peak=peak(cfg, data), recorded=recorded, **strengths)


def mix(cfg: DictConfig, data: BeatDataModule) -> Mix | None:
    """The blending of beats with one another that `augmentation` switches on; None where it is off."""
    t = cfg.augmentation.transforms
    if not (t.mixup or t.cutmix):
        return None
    return Mix(len(data.split_of.classes), padded=str(cfg.data.window) == "kaggle", mixup=t.mixup, cutmix=t.cutmix)


def peak(cfg: DictConfig, data: BeatDataModule) -> int:
    """Sample of the R peak in a beat."""
    return 0 if str(cfg.data.window) == "kaggle" else round(cfg.data.before * data.beats.sfreq)


def classifier(cfg: DictConfig, data: BeatDataModule) -> Classifier:
    """The network of `model` for these beats, with its loss and optimiser; seeded.

    Raises:
        UserError: the beats are too short for the network.
    """
    _, n_channels, n_times = data.beats.signal.shape
    # The last of three blocks gets a quarter of the beat, and its pooling needs two samples behind the convolution.
    if n_times < (shortest := 4 * (cfg.model.kernel_size + 1)):
        raise UserError(
            f"Beats of {n_times} samples are too short for model.kernel_size={cfg.model.kernel_size}, which needs "
            f"{shortest}: widen data.before and data.after, or raise data.sfreq."
        )
    classes = data.split_of.classes
    pl.seed_everything(cfg.seed, verbose=False)
    network = instantiate(
        cfg.model, n_channels=n_channels, n_times=n_times, n_classes=len(classes), n_rr=data.beats.rr.shape[1]
    )
    loss = instantiate(cfg.loss, counts=data.class_counts())
    o = cfg.optimizer
    return Classifier(
        network,
        loss,
        classes,
        lr=o.lr,
        weight_decay=o.weight_decay,
        warmup=o.warmup,
        transforms=transforms(cfg, data),
        mix=mix(cfg, data),
    )


def synthesizer(cfg: DictConfig, data: BeatDataModule) -> Synthesizer:
    """The generator of `generator` for these beats, and the classifier that judges its epochs; seeded.

    Raises:
        UserError: a class has too few training beats.
    """
    counts, classes = data.class_counts(), data.split_of.classes
    for name, n in zip(classes, counts.tolist(), strict=True):
        if n < FEWEST_TO_LEARN:
            raise UserError(
                f"Class {name} has {n} training beats, and a generator needs {FEWEST_TO_LEARN}: leave the class out of "
                "protocol.classes, or choose another protocol.split_seed or more data."
            )
    log.info("A classifier learns to judge the generator's epochs.")
    train, held_out = cohort(data, data.split_of.train), cohort(data, data.split_of.validation)
    network = fit_classifier(train, len(classes), steps=judge_steps(cfg), seed=cfg.seed)
    judge = EpochJudge(network, train, held_out, len(classes), cfg.fit.n_compared)
    _, n_channels, n_times = data.beats.signal.shape
    shape = (n_channels, n_times, data.beats.rr.shape[1])
    made = blank_synthesizer(cfg, shape, classes, len(data.records), judge=judge)
    at = torch.from_numpy(data.split_of.train)
    learnt = [column[at] for column in data.tensors]
    made.generator.prepare(*learnt)
    np.add.at(made.styles.numpy(), (learnt[2].numpy(), learnt[3].numpy()), 1)
    return made


def judge_steps(cfg: DictConfig) -> int:
    """Steps of every network that judges beats; simulated recordings are there to be tried out in minutes."""
    return cfg.fit.judge_steps or (50 if cfg.data.name == "simulated" else 300)


def blank_synthesizer(
    cfg: DictConfig,
    shape: tuple[int, int, int],
    classes: Sequence[str],
    n_styles: int,
    judge: EpochJudge | None = None,
) -> Synthesizer:
    """A synthesizer that has seen no beats, for beats of `shape` (C, T, R)."""
    pl.seed_everything(cfg.seed, verbose=False)
    canvas = Canvas(*shape, padded=str(cfg.data.window) == "kaggle")
    arguments = _arguments(cfg.generator)
    lr, *betas = (arguments.pop(key) for key in ("lr", "beta1", "beta2"))
    generator = instantiate(arguments, canvas=canvas, n_classes=len(classes), n_styles=n_styles)
    return Synthesizer(
        generator,
        tuple(classes),
        torch.zeros(len(classes), n_styles),
        judge=judge,
        lr=lr,
        betas=tuple(betas),
        seed=cfg.seed,
        n_compared=cfg.fit.n_compared,
        reduced=precision(cfg) == "bf16-mixed",
    )


def cohort(data: BeatDataModule, positions: Positions) -> Cohort:
    """The beats at `positions`, as the measures of fidelity take them."""
    return Cohort(data.beats.signal[positions], data.beats.rr[positions], data.label[positions])


def require_hardware(cfg: DictConfig) -> None:
    """Refuses an accelerator that is not here, before records are downloaded and beats prepared for it.

    Raises:
        UserError: names the accelerator and what would do.
    """
    cuda, mps = CUDAAccelerator.is_available(), MPSAccelerator.is_available()
    here = {
        "auto": True,
        "cpu": True,
        "gpu": cuda or mps,
        "cuda": cuda,
        "mps": mps,
        "tpu": XLAAccelerator.is_available(),
    }
    if not here.get(cfg.trainer.accelerator):
        usable = ", ".join(name for name, available in here.items() if available)
        raise UserError(f"trainer.accelerator={cfg.trainer.accelerator} cannot be had on this machine, only {usable}.")


def trainer(cfg: DictConfig, run: Run) -> pl.Trainer:
    """Lightning's Trainer with this run's callbacks and logger.

    Raises:
        UserError: Lightning refuses the arguments.
    """
    from ecg.runs import WholeCheckpoints

    tracker = logger(cfg, run)
    chosen = callbacks(cfg, run, has_logger=bool(tracker))
    return _trainer(cfg, logger=tracker, callbacks=chosen, plugins=[WholeCheckpoints()])


def n_devices(cfg: DictConfig) -> int:
    """How many devices of this machine train one network together, a process each.

    Raises:
        UserError: Lightning refuses the arguments.
    """
    return _trainer(cfg, logger=False).num_devices


def _trainer(cfg: DictConfig, **objects: Any) -> pl.Trainer:
    _quieten_lightning()
    arguments = _arguments(cfg.trainer)
    arguments["precision"] = precision(cfg)
    try:
        return instantiate(arguments, **objects)
    except InstantiationException as error:
        raise UserError(f"Lightning refuses this trainer: {str(error.__cause__).splitlines()[0]}") from error


def _quieten_lightning() -> None:
    """Keeps what Lightning says about itself off the console: tips, its own deprecations, workers for data on disk."""
    for name in ("pytorch_lightning.utilities.rank_zero", "pytorch_lightning.accelerators.cuda"):
        logging.getLogger(name).setLevel(logging.WARNING)
    unwanted = ["LeafSpec", "does not have many workers", "smaller than the logging interval"]
    unwanted += ["recommended to use .*sync_dist"]  # the scores of an epoch come from torchmetrics, which gathers them
    for message in unwanted:
        warnings.filterwarnings("ignore", f".*{message}.*")


def precision(cfg: DictConfig) -> str | None:
    """`trainer.precision`, "auto" decided."""
    said = cfg.trainer.precision
    return best_precision(cfg.trainer.accelerator) if said == "auto" else said


def best_precision(accelerator: str) -> str:
    """bf16-mixed where a GPU or the AMX units of a CPU multiply bfloat16 in hardware, else 32-true.

    On a CPU with AMX it makes a training step 2 to 3 times as fast (`benchmarks/step.py`).
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available())
    # Older releases of torch cannot say what the processor has.
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return "bf16-mixed" if on_cpu and capabilities.get("amx_bf16") else "32-true"


def callbacks(cfg: DictConfig, run: Run, has_logger: bool) -> list[Callback]:
    """Best and last checkpoint, and what `callbacks` or `fit` asks for."""
    fits_generator = "fit" in cfg
    monitor, mode = SYNTHESISED if fits_generator else CLASSIFIED
    chosen: list[Callback] = [run.history, BatchSeed(cfg.seed)]
    if not cfg.trainer.barebones and cfg.trainer.enable_checkpointing is not False:
        chosen.append(
            ModelCheckpoint(
                run.folder / "checkpoints",
                filename="best",
                monitor=monitor,
                mode=mode,
                enable_version_counter=False,
            )
        )
        # Of its own: Lightning's `save_last` waits for an epoch that is better.
        chosen.append(
            ModelCheckpoint(
                run.folder / "checkpoints", filename="last", save_on_train_epoch_end=True, enable_version_counter=False
            )
        )
    if fits_generator:
        chosen.append(run.gallery)
    elif cfg.callbacks.patience is not None:
        chosen.append(EarlyStopping(monitor, mode=mode, patience=cfg.callbacks.patience, strict=False))
    if (decay := (cfg.fit if fits_generator else cfg.callbacks).ema_decay) is not None:
        chosen.append(ema(decay))
    if has_logger and not cfg.trainer.fast_dev_run:
        chosen.append(LearningRateMonitor("step"))
    return chosen


def logger(cfg: DictConfig, run: Run) -> Logger | bool:
    """W&B, a CSV file, or nothing."""
    if cfg.logger.name == "none" or rank_zero_only.rank != 0:  # type: ignore[attr-defined]
        return False
    if cfg.logger.name == "csv":
        return CSVLogger(run.folder, name="", version="")
    from ecg.tracking import wandb_logger, wandb_mode

    config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    made = wandb_logger(
        run_dir=run.folder,
        mode=wandb_mode(cfg.logger.mode),
        project=cfg.logger.project,
        name=cfg.name,
        group=cfg.logger.group or run.sweep,
        job_type="synth" if "fit" in cfg else "train",
        tags=[*run.choices.values(), *cfg.logger.tags],
        config={**config, "overrides": run.overrides, "choices": run.choices},
    )
    return made or False


def _arguments(node: DictConfig, drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """A group as plain Python values, without the keys that are for others."""
    container: Any = OmegaConf.to_container(node, resolve=True, throw_on_missing=True, enum_to_str=True)
    return {**{key: value for key, value in container.items() if key not in drop}, "_convert_": "all"}
