"""The schema of every choice: one documented field a line, with its unit and the reason of its default.

The YAML files under `conf/` name the choices and state only what differs from here. This module imports nothing
heavy, so that `--help` and a typo answer at once.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import MISSING, SI, OmegaConf

from ecg.data import mitdb
from ecg.errors import UserError

SWEEP = "ECG_SWEEP"  # environment variable: the sweep of a job that is a program of its own


class Window(StrEnum):
    """How a beat is cut out of a recording."""

    kaggle = "kaggle"
    centered = "centered"


class ClassWeights(StrEnum):
    """How a class of n beats weighs in the loss, the largest having n_max."""

    none = "none"  # 1
    root = "root"  # (n_max / n) ** 0.25
    log = "log"  # 1 + ln(n_max / n)
    inverse = "inverse"  # n_max / n


class Over(StrEnum):
    """What an LSTM runs along."""

    time = "time"
    channels = "channels"


class GeneratorOver(StrEnum):
    """What the LSTMs of `lstm_gan` run along."""

    time = "time"
    beat = "beat"


class Balance(StrEnum):
    """How the imbalance of the classes is met in the training beats."""

    none = "none"
    oversample = "oversample"  # repeats beats of the smaller classes
    undersample = "undersample"  # leaves out beats of the larger classes
    smote = "smote"  # adds beats between neighbours of a class
    smote_tomek = "smote_tomek"  # the same, and cleans the border between classes
    class_balanced = "class_balanced"  # draws classes alike, beats of the rare ones again and again
    gan = "gan"  # adds beats of a generator


# -- data ---------------------------------------------------------------------------------------------------------


@dataclass
class DataConfig:
    """Where beats come from and how they are cut."""

    _target_: str = MISSING
    name: str = MISSING  # the name of the option
    window: Window = SI("${protocol.window}")  # kaggle | centered; by default as the protocol's field does
    lead: str = SI("${protocol.lead}")  # first | auto (MLII, else the first) | a lead's name
    before: float = 0.7  # s before the R peak (centered): the P wave and the end of the previous beat
    after: float = 0.9  # s from the R peak on (centered): the T wave and, at a fast rate, the next beat
    sfreq: float = 120.0  # Hz (centered): a third of MIT-BIH's rate, as the Kaggle set has it
    difference: bool = True  # (centered) a second channel: the beat minus its record's median beat


@dataclass
class SimulatedConfig(DataConfig):
    """Recordings made by a dynamical model of the ECG: nothing to download."""

    _target_: str = "ecg.data.sources.Simulated"
    name: str = "simulated"
    n_patients: int = 24  # enough for every class to be in every fold
    minutes: float = 5.0  # of each recording
    seed: int = 0  # of the patients


@dataclass
class MitBihConfig(DataConfig):
    """The MIT-BIH Arrhythmia Database."""

    _target_: str = "ecg.data.sources.MitBih"
    name: str = "mitbih"
    dir: str | None = None  # null: mitdb/ in ECG_DATA_DIR, downloaded if absent
    url: str = mitdb.URL  # where missing records are downloaded from


@dataclass
class KaggleCsvConfig:
    """The Kaggle files mitbih_train.csv and mitbih_test.csv."""

    _target_: str = "ecg.data.sources.KaggleCsv"
    name: str = "kaggle_csv"
    window: Window = Window.kaggle  # the files hold nothing else
    dir: str | None = None  # null: kaggle_heartbeat/ in ECG_DATA_DIR


@dataclass
class WfdbConfig(DataConfig):
    """A folder of one's own annotated WFDB records."""

    _target_: str = "ecg.data.sources.WfdbFolder"
    name: str = "wfdb"
    lead: str = "auto"  # others' leads have other names
    dir: str = MISSING  # folder of the records
    annotator: str = "atr"  # ending of the annotation files
    patients: Any = None  # record: patient, for people with several records, such as {rec1: anna, rec2: anna}


# -- protocol -----------------------------------------------------------------------------------------------------


@dataclass
class ProtocolConfig:
    """Which beats train, validate and test."""

    _target_: str = MISSING
    name: str = MISSING  # the name of the option
    window: Window = Window.centered  # what data.window follows
    lead: str = "auto"  # what data.lead follows
    classes: list[str] = field(default_factory=lambda: ["N", "S", "V", "F", "Q"])  # those that take part
    exclude: list[str] = field(default_factory=list)  # records that take no part
    validation: float = 0.2  # share of the training side
    split_seed: int = 0  # of the split; not the seed of the training
    keep: Any = None  # class: share of its training beats kept, to try scarcity, such as {S: 0.1, F: 0.1}


@dataclass
class KaggleProtocolConfig(ProtocolConfig):
    """The genuine split of the Kaggle set; every patient is on both sides."""

    _target_: str = "ecg.data.splits.Kaggle"
    name: str = "kaggle"
    window: Window = Window.kaggle
    lead: str = "first"  # as the set was made
    validation: float = 0.1  # 64 fusion beats; each one held out is missed in training


@dataclass
class InterPatientConfig(ProtocolConfig):
    """DS1 against DS2 for MIT-BIH; elsewhere a seeded share of the patients tests."""

    _target_: str = "ecg.data.splits.InterPatient"
    name: str = "inter_patient"
    lead: str = "MLII"  # by name: it is not always the first
    classes: list[str] = field(default_factory=lambda: ["N", "S", "V", "F"])  # EC57 leaves Q nearly empty
    train_records: list[str] = field(default_factory=lambda: list(mitdb.DS1))  # of MIT-BIH: DS1
    test_records: list[str] = field(default_factory=lambda: list(mitdb.DS2))  # of MIT-BIH: DS2
    paced_records: list[str] = field(default_factory=lambda: list(mitdb.PACED))  # of MIT-BIH: left out, as EC57 asks
    test_share: float = 0.3  # of the patients, for other sources


@dataclass
class PatientKFoldConfig(ProtocolConfig):
    """One fold of whole patients tests."""

    _target_: str = "ecg.data.splits.PatientKFold"
    name: str = "patient_kfold"
    fold: int = 0  # the fold that tests, 0..n_folds-1
    n_folds: int = 5  # parts the patients are divided into


@dataclass
class RandomConfig(ProtocolConfig):
    """A share of the beats tests; patients are on both sides."""

    _target_: str = "ecg.data.splits.Random"
    name: str = "random"
    test_share: float = 0.2  # of the beats, as in the Kaggle set


# -- augmentation -------------------------------------------------------------------------------------------------


@dataclass
class TransformsConfig:
    """What is done to half of the training beats of each batch, drawn anew each time."""

    noise_snr: float | None = None  # dB, lowest ratio of signal to white noise; null: none
    wander_snr: float | None = None  # dB, the same for the baseline's wander
    hum_snr: float | None = None  # dB, the same for power-line hum
    hum_hz: float = 50.0  # Hz of the hum: 50 or 60
    recorded_snr: float | None = None  # dB, the same for recorded noise, of which noise_dir holds the records
    scale: float = 0.0  # largest relative change of the amplitude
    offset: float = 0.0  # largest offset, in standard deviations of the beat
    shift: float = 0.0  # s, largest shift of the beat in its window
    warp: float = 0.0  # largest relative change of the tempo; the RR intervals change with it
    mask: float = 0.0  # s, length of a stretch that is hidden
    mixup: float = 0.0  # largest share of another beat that is blended in, labels alike; at most 0.5
    cutmix: float = 0.0  # largest share of the beat that another one's replaces, labels alike; at most 0.5


@dataclass
class AugmentationConfig:
    """More training beats; validation and test beats are never touched."""

    balance: Balance = Balance.none  # none | oversample | undersample | smote | smote_tomek | class_balanced | gan
    balance_to: str | None = None  # class that the smaller ones are filled up to; null: the second largest
    share: float = 1.0  # of the beats that are lacking, added; the same for every balance that adds
    beats: str | None = None  # (gan) run folder of synth.py, or the folder of a set
    noise_dir: str | None = None  # (recorded_snr) folder of the records bw, em and ma; null: nstdb/ in ECG_DATA_DIR
    transforms: TransformsConfig = field(default_factory=TransformsConfig)


# -- model and loss -----------------------------------------------------------------------------------------------


@dataclass
class CNNConfig:
    """Three residual blocks of convolutions."""

    _target_: str = "ecg.models.cnn.CNN"
    hidden: int = 128  # channels of the first block; halved from block to block
    kernel_size: int = 5  # taps of every convolution
    dropout: float = 0.0  # on the features before the head


@dataclass
class CNNLSTMConfig:
    """Two residual blocks and a bidirectional LSTM."""

    _target_: str = "ecg.models.cnn_lstm.CNNLSTM"
    hidden: int = 64  # channels of the blocks and width of the LSTM
    kernel_size: int = 5  # taps of every convolution
    dropout: float = 0.0  # on the features before the head
    over: Over = Over.time  # time | channels; channels is the network as first published


@dataclass
class CNNLSTMAttentionConfig(CNNLSTMConfig):
    """Two residual blocks and an LSTM whose last states attend over its outputs."""

    _target_: str = "ecg.models.cnn_lstm_attn.CNNLSTMAttention"


@dataclass
class CrossEntropyConfig:
    """Cross-entropy."""

    _target_: str = "ecg.losses.CrossEntropy"
    class_weights: ClassWeights = ClassWeights.root  # none | root | log | inverse; mild: S and F gain, N keeps
    label_smoothing: float = 0.02  # some annotations are wrong


@dataclass
class FocalConfig(CrossEntropyConfig):
    """Focal loss of Lin et al. 2017."""

    _target_: str = "ecg.losses.Focal"
    class_weights: ClassWeights = ClassWeights.none  # the focus is the correction of the imbalance
    gamma: float = 2.0  # the paper's


# -- training -----------------------------------------------------------------------------------------------------


@dataclass
class OptimizerConfig:
    """AdamW with warm-up and a cosine to zero."""

    lr: float = 3e-3  # at the top of the schedule
    weight_decay: float = 1e-2  # on weights of two dimensions or more
    warmup: float = 0.1  # share of the steps
    batch_size: int = 128  # beats a step, in each process


@dataclass
class CallbacksConfig:
    """What happens around the epochs."""

    patience: int | None = 10  # epochs without a better validation macro-F1; null trains to the end
    ema_decay: float | None = 0.998  # of the averaged weights, a step; null uses the weights as they are
    logit_adjustment: bool = False  # choose a post-hoc shift of the logits on the validation beats


@dataclass
class TrainerConfig:
    """The arguments of Lightning's Trainer."""

    _target_: str = "pytorch_lightning.Trainer"
    accelerator: str = "auto"  # auto | cpu | gpu | mps | tpu
    strategy: str = "auto"  # auto | ddp | ...
    devices: Any = "auto"  # how many, or a list of them
    num_nodes: int = 1  # machines
    precision: str | None = "auto"  # auto: bf16-mixed where the machine gains from it, else 32-true
    max_epochs: int | None = 12  # the cosine ends here; 10 minutes for cnn on the Kaggle split and two cores
    min_epochs: int | None = None  # before early stopping may stop
    max_steps: int = -1  # -1: no limit
    min_steps: int | None = None  # before early stopping may stop
    max_time: str | None = None  # DD:HH:MM:SS
    fast_dev_run: Any = False  # true: one batch of everything, to see whether it runs
    limit_train_batches: Any = None  # a number of batches or a share of them
    limit_val_batches: Any = None  # a number of batches or a share of them
    limit_test_batches: Any = None  # without effect: validation and test beats are always read whole at the end
    limit_predict_batches: Any = None  # without effect
    overfit_batches: Any = 0.0
    val_check_interval: Any = None
    check_val_every_n_epoch: int | None = 1  # epochs between two validations
    num_sanity_val_steps: int | None = 0  # a broken validation shows at once here: an epoch is short
    log_every_n_steps: int | None = 50  # steps between two points of a curve
    enable_checkpointing: bool | None = None  # null: yes
    enable_progress_bar: bool | None = None  # null: yes
    enable_model_summary: bool | None = False  # layers and their parameters, at the start
    accumulate_grad_batches: int = 1  # batches a step
    gradient_clip_val: float | None = 1.0  # norm; a fusion beat among normal ones makes a large gradient
    gradient_clip_algorithm: str | None = None
    deterministic: Any = None  # true: refuses operations that differ from run to run
    benchmark: bool | None = None
    inference_mode: bool = True
    use_distributed_sampler: bool = False  # the data module's sampler divides the beats itself
    profiler: str | None = None  # simple | advanced | pytorch
    detect_anomaly: bool = False  # names the operation that made a NaN; slow
    barebones: bool = False
    sync_batchnorm: bool = False
    reload_dataloaders_every_n_epochs: int = 0
    default_root_dir: str | None = "${paths.run_dir}"
    enable_autolog_hparams: bool = False  # the tracker writes the whole configuration


@dataclass
class LoggerConfig:
    """Where curves go besides the run folder."""

    name: str = MISSING  # wandb | csv | none
    mode: str | None = None  # wandb: online | offline | disabled; null: WANDB_MODE, else by credentials
    project: str = "ecg"  # in W&B
    group: str | None = None  # null: the sweep, if there is one
    tags: list[str] = field(default_factory=list)  # besides model, data and protocol


@dataclass
class PathsConfig:
    """Folders."""

    run_dir: str = "${hydra:runtime.output_dir}"  # everything of one run
    cache_dir: str | None = None  # prepared beats; null: a folder of the user's cache


@dataclass
class TrainConfig:
    """Everything `train.py` can be told."""

    name: str = (
        "${hydra:runtime.choices.model}_${hydra:runtime.choices.augmentation}_${data.name}_${protocol.name}_seed${seed}"
    )
    seed: int = 1  # of initialisation and order; not of the split
    n_bootstrap: int = 1000  # draws behind the 95 % intervals
    resume: str | None = None  # run folder of an interrupted training: goes on from its last epoch
    data: Any = MISSING
    protocol: Any = MISSING
    augmentation: Any = MISSING
    model: Any = MISSING
    loss: Any = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    callbacks: CallbacksConfig = field(default_factory=CallbacksConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


# -- synthesis ----------------------------------------------------------------------------------------------------


@dataclass
class GeneratorConfig:
    """What makes heartbeats."""

    _target_: str = MISSING
    lr: float = MISSING  # of Adam; constant, then a cosine to zero over the second half
    beta1: float = 0.0  # of Adam; momentum makes adversaries circle each other
    beta2: float = 0.99  # of Adam


@dataclass
class LSTMGANConfig(GeneratorConfig):
    """An LSTM against an LSTM, a pair for each class: the GAN as first published, put right."""

    _target_: str = "ecg.generators.lstm_gan.LSTMGAN"
    lr: float = 1e-3  # not tuned
    beta1: float = 0.5  # usual for this loss
    latent: int = 16  # width of the noise at a step
    hidden: int = 64  # width of the LSTMs
    dropout: float = 0.2  # in the critic, in training
    over: GeneratorOver = GeneratorOver.time  # time | beat; beat is the network as first published


@dataclass
class WGANGPConfig(GeneratorConfig):
    """Convolutions, Wasserstein distance, gradient penalty."""

    _target_: str = "ecg.generators.wgan_gp.WGANGP"
    lr: float = 4e-4
    beta2: float = 0.9  # the paper's
    latent: int = 64  # width of the noise
    hidden: int = 64  # channels at a quarter of the sampling rate
    n_critic: int = 3  # steps of the critic for each of the generator
    penalty: float = 10.0  # weight of the gradient penalty; the paper's


@dataclass
class R3GANConfig(GeneratorConfig):
    """Convolutions, relativistic pairing, gradient penalties on real and on synthetic beats."""

    _target_: str = "ecg.generators.r3gan.R3GAN"
    lr: float = 6e-4
    latent: int = 64  # width of the noise
    hidden: int = 64  # channels at a quarter of the sampling rate
    gamma: float = 0.02  # weight of the penalties
    penalty_every: int = 4  # steps of the critic; a penalty costs as much as three steps
    augment: float = 0.05  # stretch and offset of half of the beats before the critic sees them
    max_shift: int = 2  # samples a beat moves before the critic sees it
    texture: float = 0.1  # weight of the critic of the fine detail, for the generator


@dataclass
class RectifiedFlowConfig(GeneratorConfig):
    """A flow from noise to beats in straight lines: no adversary."""

    _target_: str = "ecg.generators.rectified_flow.RectifiedFlow"
    lr: float = 1e-3
    beta1: float = 0.9  # there is no adversary
    beta2: float = 0.999  # Adam's own
    hidden: int = 64  # channels at a quarter of the sampling rate
    steps: int = 32  # Euler steps of a drawing
    guidance: float = 1.0  # 1: as learnt; more exaggerates what the class asks for
    unconditional: float = 0.1  # share of the training beats without a class, for the guidance


@dataclass
class FitConfig:
    """How a generator is fitted."""

    batch_size: int = 128  # beats a step, in each process
    class_power: float = 0.25  # a class of n beats is drawn n ** this often: 1 as they come, 0 all alike
    ema_decay: float | None = 0.999  # of the averaged weights, a step; null uses the weights as they are
    n_compared: int = 300  # beats a class that meet the validation beats after an epoch
    n_judged: int = 3000  # beats a class that are judged in the end
    judge_steps: int | None = None  # of the networks that judge; null: 300, for simulated recordings a quick 50


@dataclass
class DrawConfig:
    """Which beats are written."""

    per_class: Any = None  # class: beats, such as {S: 5000, F: 5000}
    balance_to: str | None = None  # without per_class: fills smaller classes up to this one; null: the second largest
    csv: bool = False  # also synthetic.csv, in the 188 columns of the Kaggle set


@dataclass
class SynthConfig:
    """Everything `synth.py` can be told."""

    name: str = "${hydra:runtime.choices.generator}_${data.name}_${protocol.name}"
    seed: int = 1  # of initialisation, order and noise; not of the split
    checkpoint: str | None = None  # run folder of a fitted generator: draws more of its beats instead of fitting
    resume: str | None = None  # run folder of an interrupted fit: goes on from its last epoch
    data: Any = MISSING
    protocol: Any = MISSING
    generator: Any = MISSING
    fit: FitConfig = field(default_factory=FitConfig)
    synth: DrawConfig = field(default_factory=DrawConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: LoggerConfig = field(default_factory=LoggerConfig)
    paths: PathsConfig = field(default_factory=PathsConfig)


SCHEMAS: dict[str, dict[str, Any]] = {
    "data": {
        "simulated": SimulatedConfig,
        "mitbih": MitBihConfig,
        "kaggle_csv": KaggleCsvConfig,
        "wfdb": WfdbConfig,
    },
    "protocol": {
        "kaggle": KaggleProtocolConfig,
        "inter_patient": InterPatientConfig,
        "patient_kfold": PatientKFoldConfig,
        "random": RandomConfig,
    },
    "augmentation": dict.fromkeys(
        ("none", "oversample", "undersample", "smote", "smote_tomek", "class_balanced", "gan", "waveform"),
        AugmentationConfig,
    ),
    "model": {"cnn": CNNConfig, "cnn_lstm": CNNLSTMConfig, "cnn_lstm_attn": CNNLSTMAttentionConfig},
    "loss": {"cross_entropy": CrossEntropyConfig, "focal": FocalConfig},
    "generator": {
        "lstm_gan": LSTMGANConfig,
        "wgan_gp": WGANGPConfig,
        "r3gan": R3GANConfig,
        "rectified_flow": RectifiedFlowConfig,
    },
}


# What has no influence on the result may be said anew when a run is resumed.
CHANGED_AT_WILL = ("logger", "paths.cache_dir", "trainer.enable_progress_bar")


def register() -> None:
    """Puts the schemas into Hydra's store, where the YAML files find them."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=TrainConfig)
    store.store(group="schema", name="synth", node=SynthConfig)
    for group, options in SCHEMAS.items():
        for name, node in options.items():
            store.store(group=f"schema/{group}", name=name, node=node)


def check(cfg: Any) -> None:
    """Refuses values and combinations that cannot work, before anything heavy is imported.

    Raises:
        UserError: names the key, its value and what would do.
    """
    _check_ranges(cfg)
    _check_data(cfg)
    _check_augmentation(cfg)


def check_synth(cfg: Any) -> None:
    """The same for `synth.py`.

    Raises:
        UserError: names the key, its value and what would do.
    """
    _check_ranges(cfg)
    _check_data(cfg)
    if cfg.checkpoint and cfg.resume:
        raise UserError("checkpoint draws beats of a fitted generator, resume goes on with a fit: choose one.")
    per_class = cfg.synth.per_class or {}
    if not OmegaConf.is_dict(per_class) and per_class != {}:
        raise UserError(f"synth.per_class is {per_class}: write it as 'synth.per_class={{S: 5000, F: 5000}}'.")
    if unknown := set(per_class) - set(cfg.protocol.classes):
        raise UserError(
            f"synth.per_class has {', '.join(sorted(unknown))}: the classes here are {', '.join(cfg.protocol.classes)}."
        )
    if cfg.synth.balance_to is not None and cfg.synth.balance_to not in cfg.protocol.classes:
        raise UserError(
            f"synth.balance_to is {cfg.synth.balance_to}: the classes here are {', '.join(cfg.protocol.classes)}."
        )
    for name, n in per_class.items():
        if not isinstance(n, int) or n < 1:
            raise UserError(f"synth.per_class has {name}: {n}, and must have at least 1 beat a class.")


def sweep_name() -> str | None:
    """The folder of the sweep whose job this is, without those above it; None outside a sweep."""
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        return Path(HydraConfig.get().sweep.dir).name
    return os.environ.get(SWEEP)


def resumed(cfg: Any) -> Any:
    """The configuration of the run that `resume` names, in its folder as it is now; `cfg` without `resume`.

    Raises:
        UserError: the folder holds no run, or something is said that would make it another run.
    """
    if not cfg.resume:
        return cfg
    folder = Path(cfg.resume).resolve()
    if not (folder / "config.yaml").is_file():
        raise UserError(f"resume={cfg.resume} holds no run: there is no config.yaml in it.")
    said = [override for override in HydraConfig.get().overrides.task if not override.startswith("resume=")]
    if others := [override for override in said if not override.startswith(CHANGED_AT_WILL)]:
        raise UserError(f"resume goes on with the run as it was begun: leave out {', '.join(others)}.")
    stored = OmegaConf.load(folder / "config.yaml")
    for key in CHANGED_AT_WILL:
        if any(override.startswith(key) for override in said):
            OmegaConf.update(stored, key, OmegaConf.select(cfg, key))
    stored.resume = stored.paths.run_dir = stored.trainer.default_root_dir = str(folder)
    return stored


def _check_augmentation(cfg: Any) -> None:
    a, uses_set = cfg.augmentation, cfg.augmentation.balance == Balance.gan
    if uses_set and not a.beats:
        raise UserError(
            "augmentation.balance=gan needs a synthetic set: make one with python synth.py "
            f"data={cfg.data.name} protocol={cfg.protocol.name}, and add augmentation.beats=RUN_DIR."
        )
    # In a sweep of several balances, those that use none leave the set alone.
    if a.beats and not uses_set and not sweep_name():
        raise UserError(f"augmentation.beats is given, and augmentation.balance={a.balance} uses none: say gan.")
    if a.balance_to is not None and a.balance_to not in cfg.protocol.classes:
        raise UserError(
            f"augmentation.balance_to is {a.balance_to}: the classes here are {', '.join(cfg.protocol.classes)}."
        )
    for key in ("scale", "offset", "shift", "mask"):
        if a.transforms[key] < 0:
            raise UserError(f"augmentation.transforms.{key} is {a.transforms[key]}: it must be at least 0.")
    if not 0 <= a.transforms.warp < 0.5:
        raise UserError(f"augmentation.transforms.warp is {a.transforms.warp}: it must be at least 0 and below 0.5.")
    for key in ("mixup", "cutmix"):
        if not 0 <= a.transforms[key] <= 0.5:
            raise UserError(
                f"augmentation.transforms.{key} is {a.transforms[key]}: it must be at least 0 and at most 0.5, "
                "where both beats have an equal share."
            )
    if a.noise_dir and a.transforms.recorded_snr is None:
        raise UserError(
            "augmentation.noise_dir is given, and nothing uses it: add augmentation.transforms.recorded_snr=10."
        )


def _check_data(cfg: Any) -> None:
    source, protocol = cfg.data.name, cfg.protocol.name
    if protocol == "kaggle" and source not in ("mitbih", "kaggle_csv"):
        raise UserError(f"protocol=kaggle is a split of MIT-BIH: data={source} has none, use mitbih or kaggle_csv.")
    if source == "kaggle_csv" and protocol not in ("kaggle", "random"):
        raise UserError(f"protocol={protocol} needs patients, and the Kaggle files name none: use data=mitbih.")
    if source == "kaggle_csv" and cfg.data.window != Window.kaggle:
        raise UserError("data=kaggle_csv holds beats of the window kaggle only: use data=mitbih for another.")
    if source == "wfdb" and OmegaConf.is_missing(cfg.data, "dir"):
        raise UserError("data=wfdb needs the folder of the records: add data.dir=FOLDER.")
    if unknown := set(cfg.protocol.classes) - {"N", "S", "V", "F", "Q"}:
        raise UserError(f"protocol.classes has {', '.join(sorted(unknown))}: the classes are N, S, V, F and Q.")
    # Hydra takes a mapping on the command line only for a key of any type.
    for key, example in (("protocol.keep", "{S: 0.1, F: 0.1}"), ("data.patients", "{rec1: anna, rec2: anna}")):
        if (value := _value(cfg, key)) is not None and not OmegaConf.is_dict(value):
            raise UserError(f"{key} is {value}: write it as '{key}={example}'.")
    for name, share in (cfg.protocol.keep or {}).items():
        if name not in cfg.protocol.classes or not isinstance(share, int | float) or not 0 < share <= 1:
            raise UserError(
                f"protocol.keep has {name}: {share}, and takes shares above 0 and at most 1 of the classes "
                f"{', '.join(cfg.protocol.classes)}."
            )
    if cfg.logger.name not in ("wandb", "csv", "none"):
        raise UserError(f"logger.name is {cfg.logger.name}: it is wandb, csv or none.")


def _check_ranges(cfg: Any) -> None:
    positive = ["generator.lr", "generator.latent", "generator.steps", "generator.n_critic", "generator.penalty_every"]
    positive += ["fit.batch_size", "fit.n_compared", "fit.n_judged", "fit.judge_steps"]
    positive += ["optimizer.lr", "optimizer.batch_size", "model.kernel_size", "n_bootstrap"]
    positive += ["augmentation.share", "augmentation.transforms.hum_hz"]
    positive += ["data.before", "data.after", "data.sfreq", "data.n_patients", "data.minutes", "trainer.max_epochs"]
    shares = ["protocol.validation", "protocol.test_share", "callbacks.ema_decay", "fit.ema_decay"]
    for key in positive:
        if (value := _value(cfg, key)) is not None and value <= 0:
            raise UserError(f"{key} is {value}: it must be above 0.")
    for key in shares:
        if (value := _value(cfg, key)) is not None and not 0 < value < 1:
            raise UserError(f"{key} is {value}: it must be between 0 and 1.")
    at_least_0 = ["model.dropout", "loss.label_smoothing", "optimizer.warmup"]
    at_least_0 += ["generator.dropout", "generator.unconditional", "generator.beta1", "generator.beta2"]
    for key in at_least_0:
        if not 0 <= (_value(cfg, key) or 0) < 1:
            raise UserError(f"{key} is {_value(cfg, key)}: it must be at least 0 and below 1.")
    if (hidden := _value(cfg, "model.hidden")) is not None and hidden < 4:
        raise UserError(f"model.hidden is {cfg.model.hidden}: it must be at least 4, since the blocks halve it.")
    if (hidden := _value(cfg, "generator.hidden")) is not None and (hidden % 8 or hidden < 8):
        raise UserError(f"generator.hidden is {hidden}: it must be a multiple of 8.")
    if (fold := _value(cfg, "protocol.fold")) is not None and not 0 <= fold < cfg.protocol.n_folds:
        raise UserError(f"protocol.fold is {fold}: it must be 0 to {cfg.protocol.n_folds - 1}.")
    if not 0 <= cfg.seed < 2**32 or not 0 <= cfg.protocol.split_seed < 2**32:
        raise UserError("seed and protocol.split_seed must be at least 0 and below 2**32.")


def _value(cfg: Any, key: str) -> Any:
    for part in key.split("."):
        if part not in cfg:
            return None
        cfg = cfg[part]
    return cfg
