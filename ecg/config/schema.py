"""The schema of the configuration: one documented field a key, with its default and valid range.

Defaults live here and nowhere else. The YAML files under `conf/` name the options and state only what differs from
these defaults.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, SI

from ecg.config.ranges import key
from ecg.data.databases import DATABASES

CLASSES = ["N", "S", "V", "F", "Q"]
LARGEST_SEED = 2**32 - 1  # NumPy's
KERNEL_SIZES = (3, 5, 7, 9, 11, 13, 15)


class WindowName(StrEnum):
    """How a beat is cut out of a recording."""

    kaggle = "kaggle"
    centered = "centered"


class Features(StrEnum):
    """Features of a beat that are computed from its record."""

    none = "none"
    rr = "rr"  # eight RR features
    rhythm_and_shape = "rhythm_and_shape"  # rhythm features, and features of P wave and shape of each lead


class ClassWeights(StrEnum):
    """Weight in the loss of a class of n beats; the largest class has n_max."""

    none = "none"  # 1
    fourth_root = "fourth_root"  # (n_max / n) ** 0.25
    log = "log"  # 1 + ln(n_max / n)
    inverse = "inverse"  # n_max / n


class RecordEmbedding(StrEnum):
    """What a generator is conditioned on besides the class."""

    record = "record"  # a learned embedding of each record
    normal_beats = "normal_beats"  # an embedding of the record's normal beats


class Pairs(StrEnum):
    """Pairs of class and record that synthetic beats are drawn for."""

    seen = "seen"  # as often as among the training beats
    unseen = "unseen"  # those without training beats


class GeneratorOver(StrEnum):
    """The axis that the LSTMs of `lstm_gan` run along."""

    time = "time"
    beat = "beat"


# -- data ---------------------------------------------------------------------------------------------------------


@dataclass
class DataConfig:
    """The source of the beats and the window that cuts them."""

    has_patients: ClassVar[bool] = True
    has_kaggle_split: ClassVar[bool] = False

    _target_: str = MISSING
    name: str = key(MISSING, "name of the option")
    records: list[str] | None = key(None, "records to use; null: all")
    window: WindowName = key(SI("${protocol.window}"), "kaggle | centered; default: the protocol's")
    lead: str = key(SI("${protocol.lead}"), "first | auto (the preferred lead, else the first) | name of a lead")
    before: float = key(0.7, "s before the R peak (centered): P wave and end of the previous beat", above=0, at_most=10)
    after: float = key(
        0.9, "s after the R peak (centered): T wave and, in fast rhythms, the next beat", above=0, at_most=10
    )
    sfreq: float = key(
        120.0, "Hz (centered): a third of MIT-BIH's rate, as in the Kaggle set", at_least=20, at_most=2000
    )
    difference: bool = key(True, "second channel of each lead (centered): the beat minus the record's median beat")
    leads: int = key(1, "leads (centered); a second lead that a record does not have is zero", at_least=1, at_most=2)
    features: Features = key(
        Features.rr, "none | rr | rhythm_and_shape (centered); the latter use the whole record, without labels"
    )
    causal: bool = key(False, "a beat is independent of later beats (rhythm_and_shape, context)")
    context: int = key(
        0,
        "beats before and after each beat that the network receives (centered); 0: none",
        at_least=0,
        at_most=1000,
    )


@dataclass
class SimulatedConfig(DataConfig):
    """Recordings simulated by a dynamical model of the ECG. Needs no download."""

    _target_: str = "ecg.data.simulated.Simulated"
    name: str = key("simulated", "name of the option")
    n_patients: int = key(24, "patients; every class is in every fold", at_least=1, at_most=10_000)
    minutes: float = key(5.0, "minutes of each recording", above=0, at_most=240)
    seed: int = key(0, "seed of the patients", at_least=0, at_most=LARGEST_SEED)


@dataclass
class PhysioNetConfig(DataConfig):
    """An annotated database of PhysioNet."""

    _target_: str = "ecg.data.physionet.PhysioNet"
    dir: str | None = key(None, "folder of the records; null: the database's folder in ECG_DATA_DIR")
    url: str | None = key(None, "address of the download of missing records; null: PhysioNet's")


@dataclass
class KaggleCsvConfig:
    """The Kaggle files mitbih_train.csv and mitbih_test.csv."""

    has_patients: ClassVar[bool] = False
    has_kaggle_split: ClassVar[bool] = True

    _target_: str = "ecg.data.kaggle.KaggleCsv"
    name: str = key("kaggle_csv", "name of the option")
    window: WindowName = key(WindowName.kaggle, "the files hold beats of the window kaggle only")
    dir: str | None = key(None, "folder of the two files; null: kaggle_heartbeat/ in ECG_DATA_DIR")


@dataclass
class WfdbConfig(DataConfig):
    """A folder of your own annotated WFDB records."""

    _target_: str = "ecg.data.wfdb_folder.WfdbFolder"
    name: str = key("wfdb", "name of the option")
    lead: str = key("auto", "first | auto (MLII, else the first) | name of a lead")
    dir: str = key(MISSING, "folder of the records")
    annotator: str = key("atr", "suffix of the annotation files")
    patients: Any = key(
        None,
        "record: patient, for patients with several records, such as {rec1: anna, rec2: anna}",
        example="{rec1: anna, rec2: anna}",
    )


# -- protocol -----------------------------------------------------------------------------------------------------


@dataclass
class ProtocolConfig:
    """The split of the beats into training, validation and test subsets."""

    needs_patients: ClassVar[bool] = False
    needs_kaggle_split: ClassVar[bool] = False

    _target_: str = MISSING
    name: str = key(MISSING, "name of the option")
    window: WindowName = key(WindowName.centered, "default of data.window")
    lead: str = key("auto", "default of data.lead")
    classes: list[str] = key(CLASSES, "classes that take part")
    exclude: list[str] = key([], "records that are left out")
    validation_fraction: float = key(
        0.2,
        "fraction of the training beats or patients used for validation; 0: none, the last epoch is evaluated",
        choices=(0.0,),
        at_least=0.01,
        at_most=0.5,
    )
    split_seed: int = key(0, "seed of the split; separate from the training seed", at_least=0, at_most=LARGEST_SEED)
    keep: Any = key(
        None,
        "class: fraction of its training beats to keep, to simulate scarcity, such as {S: 0.1, F: 0.1}",
        above=0,
        at_most=1,
        example="{S: 0.1, F: 0.1}",
    )


@dataclass
class KaggleProtocolConfig(ProtocolConfig):
    """The split of the Kaggle heartbeat set. Every patient is in all subsets."""

    needs_kaggle_split: ClassVar[bool] = True

    _target_: str = "ecg.data.protocols.kaggle.Kaggle"
    name: str = key("kaggle", "name of the option")
    window: WindowName = key(WindowName.kaggle, "default of data.window")
    lead: str = key("first", "default of data.lead; the Kaggle set uses the first lead")
    validation_fraction: float = key(
        0.1,
        "fraction of the training beats used for validation; 0.1 holds 64 fusion beats; 0: none",
        choices=(0.0,),
        at_least=0.01,
        at_most=0.5,
    )


@dataclass
class InterPatientConfig(ProtocolConfig):
    """The published inter-patient split: DS1 and DS2 of MIT-BIH. Other sources: a seeded fraction of the patients."""

    needs_patients: ClassVar[bool] = True

    _target_: str = "ecg.data.protocols.inter_patient.InterPatient"
    name: str = key("inter_patient", "name of the option")
    lead: str = key("MLII", "default of data.lead, by name: MLII is not the first lead of every record")
    classes: list[str] = key(["N", "S", "V", "F"], "classes that take part; without paced records Q is nearly empty")
    train_records: list[str] | None = key(None, "null: the published ones, DS1")
    test_records: list[str] | None = key(None, "null: the published ones, DS2")
    paced_records: list[str] | None = key(None, "records left out, as EC57 requires; null: the published ones")
    test_fraction: float = key(
        0.3, "fraction of the patients, for sources without a published split", at_least=0.01, at_most=0.5
    )


@dataclass
class PatientKFoldConfig(ProtocolConfig):
    """Cross-validation over patients: one fold is the test subset."""

    needs_patients: ClassVar[bool] = True

    _target_: str = "ecg.data.protocols.patient_kfold.PatientKFold"
    name: str = key("patient_kfold", "name of the option")
    fold: int = key(0, "the fold used for the test, 0 to n_folds - 1", at_least=0, at_most=999)
    n_folds: int = key(5, "folds that the patients are divided into", at_least=2, at_most=1000)


@dataclass
class CrossDatabaseConfig(ProtocolConfig):
    """Training on the records of `data`, test on those of another database."""

    needs_patients: ClassVar[bool] = True

    _target_: str = "ecg.data.protocols.cross_database.CrossDatabase"
    name: str = key("cross_database", "name of the option")
    classes: list[str] = key(["N", "S", "V"], "classes that take part; SVDB has 3 fusion beats")
    test: str = key("svdb", "the test database, or wfdb for a folder of your own records", choices=(*DATABASES, "wfdb"))
    test_dir: str | None = key(None, "folder of its records; null: the database's folder in ECG_DATA_DIR")
    test_records: list[str] | None = key(None, "its records to use; null: all")
    test_lead: str = key("auto", "its lead: first | auto (the preferred lead, else the first) | name of a lead")


@dataclass
class AllRecordsConfig(CrossDatabaseConfig):
    """Training on all records of `data` and of a second database, for weights that are released."""

    needs_patients: ClassVar[bool] = False

    _target_: str = "ecg.data.protocols.all_records.AllRecords"
    name: str = key("all_records", "name of the option")
    classes: list[str] = key(["N", "S", "V", "F"], "classes that take part")
    validation_fraction: float = key(
        0.0, "fraction of the training beats for validation; 0: none", at_least=0, at_most=0.5
    )
    test: str = key("svdb", "the second database, or wfdb for a folder of records", choices=(*DATABASES, "wfdb"))
    test_fraction: float = key(0.01, "fraction of the beats of each class for the test", at_least=0.01, at_most=0.9)


@dataclass
class RandomConfig(ProtocolConfig):
    """A random fraction of the beats of each class is the test subset. Patients are in all subsets."""

    _target_: str = "ecg.data.protocols.random_split.RandomSplit"
    name: str = key("random", "name of the option")
    test_fraction: float = key(0.2, "fraction of the beats, as in the Kaggle set", at_least=0.01, at_most=0.9)


# -- augmentation -------------------------------------------------------------------------------------------------


@dataclass
class BalanceConfig:
    """How the class imbalance of the training beats is corrected."""

    uses_synthetic_set: ClassVar[bool] = False
    in_context: ClassVar[bool] = False  # whether it neither removes nor samples beats, which are a context of others

    _target_: str = MISSING


@dataclass
class NoBalanceConfig(BalanceConfig):
    """The training beats are used as they are."""

    in_context: ClassVar[bool] = True

    _target_: str = "ecg.augmentation.balance.none.NoBalance"


@dataclass
class OversampleConfig(BalanceConfig):
    """Repeats beats of the smaller classes."""

    in_context: ClassVar[bool] = True

    _target_: str = "ecg.augmentation.balance.oversample.Oversample"


@dataclass
class UndersampleConfig(BalanceConfig):
    """Removes beats of the larger classes."""

    _target_: str = "ecg.augmentation.balance.undersample.Undersample"


@dataclass
class SmoteConfig(BalanceConfig):
    """Adds interpolations between neighbouring beats of a class (Chawla et al. 2002)."""

    in_context: ClassVar[bool] = True

    _target_: str = "ecg.augmentation.balance.smote.Smote"
    neighbours: int = key(5, "nearest neighbours to interpolate with", at_least=1, at_most=1000)


@dataclass
class SmoteTomekConfig(SmoteConfig):
    """SMOTE, then removes the larger class's beat of each Tomek link (Batista et al. 2004)."""

    in_context: ClassVar[bool] = False

    _target_: str = "ecg.augmentation.balance.smote_tomek.SmoteTomek"


@dataclass
class ClassBalancedConfig(BalanceConfig):
    """Samples all classes equally often. Use it with loss.class_weights=none."""

    _target_: str = "ecg.augmentation.balance.class_balanced.ClassBalanced"


@dataclass
class GanConfig(BalanceConfig):
    """Adds synthetic beats of `augmentation.beats`."""

    uses_synthetic_set: ClassVar[bool] = True
    in_context: ClassVar[bool] = True

    _target_: str = "ecg.augmentation.balance.gan.Gan"
    fusion: float = key(0.0, "fraction of the added F beats that augmentation=fusion makes", at_least=0, at_most=1)


@dataclass
class SyntheticConfig(BalanceConfig):
    """Trains on the synthetic beats of `augmentation.beats` alone, all of them."""

    uses_synthetic_set: ClassVar[bool] = True

    _target_: str = "ecg.augmentation.balance.synthetic.Synthetic"


@dataclass
class FusionConfig(BalanceConfig):
    """Adds sums of an N and a V beat of one record to class F."""

    in_context: ClassVar[bool] = True
    needs_classes: ClassVar[tuple[str, ...]] = ("N", "V", "F")

    _target_: str = "ecg.augmentation.balance.fusion.Fusion"


@dataclass
class ResampleConfig:
    """Stretches the time axis and shifts the beat."""

    _target_: str = "ecg.augmentation.transforms.resample.Resample"
    warp: float = key(0.0, "largest relative change of the tempo; RR intervals change with it", at_least=0, below=0.5)
    shift: float = key(0.0, "s, largest shift within the window", at_least=0, at_most=1)


@dataclass
class NoiseConfig:
    """Adds noise."""

    _target_: str = MISSING
    snr: float | None = key(None, "dB, lowest signal-to-noise ratio; null: off", at_least=-100, at_most=100)


@dataclass
class WhiteNoiseConfig(NoiseConfig):
    """Adds white noise."""

    _target_: str = "ecg.augmentation.transforms.white_noise.WhiteNoise"


@dataclass
class WanderConfig(NoiseConfig):
    """Adds baseline wander."""

    _target_: str = "ecg.augmentation.transforms.wander.Wander"


@dataclass
class HumConfig(NoiseConfig):
    """Adds power-line hum."""

    _target_: str = "ecg.augmentation.transforms.hum.Hum"
    frequency: float = key(50.0, "Hz: 50 or 60", above=0, at_most=1000)


@dataclass
class RecordedNoiseConfig(NoiseConfig):
    """Adds noise of the MIT-BIH Noise Stress Test Database."""

    _target_: str = "ecg.augmentation.transforms.recorded_noise.RecordedNoise"
    dir: str | None = key(None, "folder of the records bw, em and ma; null: nstdb/ in ECG_DATA_DIR")


@dataclass
class ScaleConfig:
    """Scales the amplitude."""

    _target_: str = "ecg.augmentation.transforms.scale.Scale"
    limit: float = key(0.0, "largest relative change", at_least=0, at_most=10)


@dataclass
class OffsetConfig:
    """Adds a constant."""

    _target_: str = "ecg.augmentation.transforms.offset.Offset"
    limit: float = key(0.0, "largest offset, in standard deviations of the beat", at_least=0, at_most=10)


@dataclass
class MaskConfig:
    """Replaces a segment by the mean of the beat."""

    _target_: str = "ecg.augmentation.transforms.mask.Mask"
    duration: float = key(0.0, "s, length of the segment", at_least=0, at_most=10)


@dataclass
class MixupConfig:
    """Blends a beat with another one, and its label likewise (Zhang et al. 2018)."""

    _target_: str = "ecg.augmentation.transforms.mixup.Mixup"
    limit: float = key(
        0.0, "largest fraction of the other beat; at 0.5 both beats weigh the same", at_least=0, at_most=0.5
    )


@dataclass
class CutmixConfig:
    """Replaces a segment by that of another beat, and its label likewise (Yun et al. 2019)."""

    _target_: str = "ecg.augmentation.transforms.cutmix.Cutmix"
    limit: float = key(0.0, "largest fraction of the beat that is replaced", at_least=0, at_most=0.5)


@dataclass
class TransformsConfig:
    """Random changes of training beats. Each is applied to half of the beats of a batch."""

    resample: ResampleConfig = field(default_factory=ResampleConfig)
    white_noise: WhiteNoiseConfig = field(default_factory=WhiteNoiseConfig)
    wander: WanderConfig = field(default_factory=WanderConfig)
    hum: HumConfig = field(default_factory=HumConfig)
    recorded_noise: RecordedNoiseConfig = field(default_factory=RecordedNoiseConfig)
    scale: ScaleConfig = field(default_factory=ScaleConfig)
    offset: OffsetConfig = field(default_factory=OffsetConfig)
    mask: MaskConfig = field(default_factory=MaskConfig)
    mixup: MixupConfig = field(default_factory=MixupConfig)
    cutmix: CutmixConfig = field(default_factory=CutmixConfig)


@dataclass
class RhythmConfig:
    """Simulated rhythms of training records, for beats in context; see ecg/augmentation/rhythm.py."""

    _target_: str = "ecg.augmentation.rhythm.RhythmSimulation"
    fraction: float = key(
        0.0, "fraction of the training sequences with a simulated rhythm (data.context); 0: off", at_least=0, at_most=1
    )
    variants: int = key(8, "simulated rhythms of each record", at_least=1, at_most=1000)
    tempo: float = key(0.3, "fraction of them in which the heart rate drifts", at_least=0, at_most=1)
    respiration: float = key(0.3, "in which the intervals follow the respiration", at_least=0, at_most=1)
    fibrillation: float = key(0.4, "with fibrillation", at_least=0, at_most=1)
    block: float = key(0.2, "with beats that are not conducted", at_least=0, at_most=1)
    runs: float = key(0.3, "with runs of S beats", at_least=0, at_most=1)
    premature: float = key(0.6, "with premature S beats", at_least=0, at_most=1)
    pauses: float = key(0.2, "with pauses", at_least=0, at_most=1)


@dataclass
class AugmentationConfig:
    """Changes of the training beats. Validation and test beats are never changed."""

    balance: Any = MISSING
    balance_to: str | None = key(None, "class that smaller classes are filled up to; null: the second largest")
    fraction: float = key(1.0, "fraction of the missing beats that is added", above=0, at_most=100)
    beats: str | None = key(None, "(balance=gan or synthetic) run folder of synth.py, or folder of a synthetic set")
    transforms: TransformsConfig = field(default_factory=TransformsConfig)
    rhythm: RhythmConfig = field(default_factory=RhythmConfig)


# -- model and loss -----------------------------------------------------------------------------------------------


@dataclass
class CNNConfig:
    """Three stages of residual blocks."""

    _target_: str = "ecg.models.cnn.CNN"
    hidden: int = key(32, "channels of the first stage; the last has twice as many", at_least=4, at_most=4096)
    kernel_size: int = key(7, "length of the convolution kernels", choices=KERNEL_SIZES)
    dropout: float = key(0.0, "dropout on the features before the head", at_least=0, below=1)


@dataclass
class CNNLSTMConfig:
    """Two stages of residual blocks and a bidirectional LSTM."""

    _target_: str = "ecg.models.cnn_lstm.CNNLSTM"
    hidden: int = key(40, "channels of the blocks and width of the LSTM", at_least=4, at_most=4096)
    kernel_size: int = key(7, "length of the convolution kernels", choices=KERNEL_SIZES)
    dropout: float = key(0.0, "dropout on the features before the head", at_least=0, below=1)


@dataclass
class CNNLSTMAttentionConfig(CNNLSTMConfig):
    """Two stages of residual blocks, a bidirectional LSTM, and attention of its last states over its outputs."""

    _target_: str = "ecg.models.cnn_lstm_attn.CNNLSTMAttention"


@dataclass
class SequenceConfig:
    """The layers that classify beats in context, if data.context is not 0; see ecg/models/beat_sequence.py."""

    hidden: int = key(64, "width of each GRU in each direction", at_least=4, at_most=4096)
    encoded: int = key(32, "features of each beat's waveform that a GRU receives", at_least=1, at_most=4096)
    dropout: float = key(0.3, "dropout before and after the GRUs", at_least=0, below=1)
    p_wave_dropout: float = key(0.3, "fraction of the training sequences without P wave features", at_least=0, below=1)
    encoder_dropout: float = key(0.3, "fraction of the training sequences without waveform", at_least=0, below=1)
    noise: float = key(
        0.05, "noise on the training features, in standard deviations of each feature", at_least=0, at_most=10
    )


@dataclass
class CrossEntropyConfig:
    """Cross-entropy."""

    _target_: str = "ecg.losses.CrossEntropy"
    class_weights: ClassWeights = key(
        ClassWeights.fourth_root, "none | fourth_root | log | inverse; fourth_root helps S and F and does not harm N"
    )
    label_smoothing: float = key(0.02, "label smoothing; some annotations are wrong", at_least=0, below=1)


@dataclass
class FocalConfig(CrossEntropyConfig):
    """Focal loss (Lin et al. 2017)."""

    _target_: str = "ecg.losses.Focal"
    class_weights: ClassWeights = key(ClassWeights.none, "none | fourth_root | log | inverse")
    gamma: float = key(2.0, "focusing parameter; the paper's", at_least=0, at_most=100)


# -- training -----------------------------------------------------------------------------------------------------


@dataclass
class OptimizerConfig:
    """AdamW with linear warm-up and cosine decay to zero."""

    lr: float = key(3e-3, "peak learning rate", above=0, at_most=100)
    weight_decay: float = key(1e-2, "of parameters with two dimensions or more", at_least=0, at_most=100)
    warmup: float = key(0.1, "fraction of the steps", at_least=0, below=1)
    batch_size: int = key(128, "beats a step, in each process", at_least=1, at_most=1_000_000)


@dataclass
class CallbacksConfig:
    """Early stopping and weight averaging."""

    patience: int | None = key(
        10, "epochs without a better validation macro-F1 before stopping; null: off", at_least=0, at_most=100_000
    )
    ema_decay: float | None = key(
        0.998, "decay of the averaged weights, per step; null: no averaging", above=0, below=1
    )


@dataclass
class PredictionConfig:
    """How probabilities follow from the logits of the network."""

    recentre: float | None = key(
        None,
        "median, in every record, of the logit of S minus that of N; null: off; uses the whole record, without labels",
        at_least=-100,
        at_most=100,
    )
    vote: bool = key(
        False,
        "mean probability of V, F and Q over the beats of one shape in a record; uses the whole record, without labels",
    )
    shifts: Any = key(
        None,
        "class: number added to its logits, such as {S: 0.5, F: 2.0}; `ecg calibrate` chooses them",
        at_least=-100,
        at_most=100,
        example="{S: 0.5, F: 2.0}",
    )
    logit_adjustment: bool = key(False, "shift the logits by a multiple of the log class prior, chosen on validation")
    temperature: float | None = key(
        1.0, "divides the logits; null: chosen on validation; `ecg calibrate` chooses it", above=0, at_most=1000
    )


@dataclass
class TrainerConfig:
    """The arguments of Lightning's Trainer."""

    _target_: str = "pytorch_lightning.Trainer"
    accelerator: str = key("auto", "hardware", choices=("auto", "cpu", "gpu", "cuda", "mps", "tpu"))
    strategy: str = key("auto", "auto | ddp | any other strategy of Lightning")
    devices: Any = key(
        1,
        "number of devices, a list of GPUs such as [0,1], or auto for all; the batch size is per device",
        choices=("auto", -1),
        at_least=1,
        at_most=1024,
        whole=True,
    )
    num_nodes: int = key(1, "machines", at_least=1, at_most=1024)
    precision: str | None = key(
        "auto",
        "auto: bf16-mixed where it is faster, else 32-true",
        choices=("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true", "32", "64"),
    )
    max_epochs: int | None = key(12, "epochs; the learning rate reaches zero at the end", at_least=1, at_most=1_000_000)
    min_epochs: int | None = key(None, "epochs before early stopping", at_least=0, at_most=1_000_000)
    max_steps: int = key(-1, "steps; -1: no limit", choices=(-1,), at_least=1, at_most=1_000_000_000)
    min_steps: int | None = key(None, "steps before early stopping", at_least=0, at_most=1_000_000_000)
    max_time: str | None = key(None, "longest duration, DD:HH:MM:SS")
    fast_dev_run: Any = key(
        False,
        "true: one batch of each subset, as a quick test; or a number of batches",
        choices=(False, True),
        at_least=0,
        at_most=1_000_000,
        whole=True,
    )
    limit_train_batches: Any = key(
        None, "number or fraction of the batches", above=0, at_most=1_000_000, whole_from_1=True
    )
    limit_val_batches: Any = key(
        None, "number or fraction of the batches", above=0, at_most=1_000_000, whole_from_1=True
    )
    limit_test_batches: Any = key(
        None, "no effect: the final evaluation uses all beats", above=0, at_most=1_000_000, whole_from_1=True
    )
    limit_predict_batches: Any = key(None, "no effect", above=0, at_most=1_000_000, whole_from_1=True)
    overfit_batches: Any = key(
        0.0, "number or fraction of the batches to overfit", at_least=0, at_most=1_000_000, whole_from_1=True
    )
    val_check_interval: float | None = key(None, "fraction of an epoch between two validations", above=0, at_most=1)
    check_val_every_n_epoch: int | None = key(1, "epochs between two validations", at_least=1, at_most=1_000_000)
    num_sanity_val_steps: int | None = key(
        0, "validation batches before the training; epochs are short", at_least=-1, at_most=1_000_000
    )
    log_every_n_steps: int | None = key(50, "steps between two logged values", at_least=1, at_most=1_000_000)
    enable_checkpointing: bool | None = key(None, "null: true")
    enable_progress_bar: bool | None = key(None, "null: true")
    enable_model_summary: bool | None = key(False, "print layers and their parameters")
    accumulate_grad_batches: int = key(1, "batches a step", at_least=1, at_most=100_000)
    gradient_clip_val: float | None = key(
        1.0, "largest gradient norm; rare classes give large gradients", at_least=0, at_most=1_000_000
    )
    gradient_clip_algorithm: str | None = key(None, "null: norm", choices=("norm", "value"))
    deterministic: Any = key(
        None, "true: deterministic operations only, as repeatable results on a GPU need", choices=(False, True, "warn")
    )
    benchmark: bool | None = key(None, "cuDNN's search for the fastest algorithms")
    inference_mode: bool = key(True, "validation in torch.inference_mode instead of torch.no_grad")
    use_distributed_sampler: bool = key(False, "false: the data module divides the beats among processes")
    profiler: str | None = key(None, "measure durations", choices=("simple", "advanced", "pytorch"))
    detect_anomaly: bool = key(False, "report the operation that produced a NaN; slow")
    barebones: bool = key(False, "no logging, checkpoints or progress bar; for timing")
    sync_batchnorm: bool = key(False, "batch norm over all processes")
    reload_dataloaders_every_n_epochs: int = key(0, "0: never", at_least=0, at_most=1_000_000)
    default_root_dir: str | None = key("${paths.run_dir}", "folder for files without a folder of their own")
    enable_autolog_hparams: bool = key(False, "false: the logger stores the configuration")


@dataclass
class WandbConfig:
    """Weights & Biases; offline where there are no credentials."""

    _target_: str = "ecg.tracking.loggers.wandb_logger"
    mode: str | None = key(
        None,
        "null: WANDB_MODE, else online where credentials exist",
        choices=("online", "offline", "disabled"),
    )
    project: str = key("ecg", "project")
    group: str | None = key(None, "group; null: the sweep")
    tags: list[str] = key([], "tags, in addition to model, data and protocol")


@dataclass
class CsvLoggerConfig:
    """A metrics.csv in the run folder."""

    _target_: str = "ecg.tracking.loggers.csv_logger"


@dataclass
class TensorboardConfig:
    """TensorBoard files in the run folder (extra tensorboard)."""

    _target_: str = "ecg.tracking.loggers.tensorboard_logger"


@dataclass
class MlflowConfig:
    """MLflow, at MLFLOW_TRACKING_URI or in mlflow.db of the working folder (extra mlflow)."""

    _target_: str = "ecg.tracking.loggers.mlflow_logger"
    experiment: str = key("ecg", "experiment")


@dataclass
class NoLoggerConfig:
    """No logger; the run folder holds the results."""

    _target_: str = "ecg.tracking.loggers.no_logger"


@dataclass
class PathsConfig:
    """Folders."""

    run_dir: str = key("${hydra:runtime.output_dir}", "the run folder")
    cache_dir: str | None = key(None, "folder of prepared beats; null: a folder of the user's cache")


@dataclass
class TrainConfig:
    """Trains and tests a heartbeat classifier."""

    name: str = key(
        "${hydra:runtime.choices.model}_${hydra:runtime.choices.augmentation}_${data.name}_${protocol.name}_seed${seed}",
        "name of the run",
    )
    seed: int = key(1, "seed of initialisation and order; not of the split", at_least=0, at_most=LARGEST_SEED)
    n_bootstrap: int = key(1000, "bootstrap samples of the 95 % intervals", at_least=1, at_most=10_000)
    checkpoint: str | None = key(
        None, "run folder of a fitted classifier with the same configuration except prediction: evaluate, do not fit"
    )
    resume: str | None = key(None, "run folder of an interrupted training to continue")
    data: Any = MISSING
    protocol: Any = MISSING
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)
    model: Any = MISSING
    sequence: SequenceConfig = field(default_factory=SequenceConfig)
    loss: Any = MISSING
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    callbacks: CallbacksConfig = field(default_factory=CallbacksConfig)
    prediction: PredictionConfig = field(default_factory=PredictionConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: Any = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)


# -- synthesis ----------------------------------------------------------------------------------------------------


@dataclass
class GeneratorConfig:
    """A model that generates heartbeats."""

    _target_: str = MISSING
    lr: float = key(
        MISSING, "learning rate of Adam; constant, then a cosine to zero over the second half", above=0, at_most=1e38
    )
    beta1: float = key(0.0, "of Adam; momentum destabilises adversarial training", at_least=0, below=1)
    beta2: float = key(0.99, "of Adam", at_least=0, below=1)


@dataclass
class RecordGeneratorConfig(GeneratorConfig):
    """A generator that is conditioned on a record."""

    embedding: RecordEmbedding = key(
        RecordEmbedding.record,
        "record | normal_beats; the latter is computed from normal beats and exists for every record that has some",
    )


@dataclass
class LSTMGANConfig(GeneratorConfig):
    """An LSTM generator and an LSTM critic for each class: the original LSTM-GAN, corrected."""

    _target_: str = "ecg.generators.lstm_gan.LSTMGAN"
    lr: float = key(3e-4, "learning rate of Adam; 1e-3 is unstable", above=0, at_most=1e38)
    beta1: float = key(0.5, "of Adam; usual for this loss", at_least=0, below=1)
    latent: int = key(16, "width of the noise at a time step", at_least=1, at_most=4096)
    hidden: int = key(64, "width of the LSTMs", at_least=8, at_most=4096, multiple_of=8)
    dropout: float = key(0.2, "dropout of the critic in training", at_least=0, below=1)
    over: GeneratorOver = key(
        GeneratorOver.beat, "beat | time; beat is the network as first published, and better with few epochs"
    )


@dataclass
class WGANGPConfig(RecordGeneratorConfig):
    """Convolutional GAN with Wasserstein distance and gradient penalty (Gulrajani et al. 2017)."""

    _target_: str = "ecg.generators.wgan_gp.WGANGP"
    lr: float = key(4e-4, "learning rate of Adam", above=0, at_most=1e38)
    beta2: float = key(0.9, "of Adam; the paper's", at_least=0, below=1)
    latent: int = key(64, "width of the noise", at_least=1, at_most=4096)
    hidden: int = key(64, "channels at a quarter of the sampling rate", at_least=8, at_most=4096, multiple_of=8)
    n_critic: int = key(3, "critic steps for each generator step", at_least=1, at_most=100)
    penalty: float = key(10.0, "weight of the gradient penalty; the paper's", at_least=0, at_most=1_000_000)


@dataclass
class R3GANConfig(RecordGeneratorConfig):
    """Convolutional GAN with relativistic pairing loss and two gradient penalties (Huang et al. 2024)."""

    _target_: str = "ecg.generators.r3gan.R3GAN"
    lr: float = key(6e-4, "learning rate of Adam", above=0, at_most=1e38)
    latent: int = key(64, "width of the noise", at_least=1, at_most=4096)
    hidden: int = key(64, "channels at a quarter of the sampling rate", at_least=8, at_most=4096, multiple_of=8)
    gamma: float = key(0.02, "weight of the gradient penalties", at_least=0, at_most=1_000_000)
    penalty_every: int = key(
        4, "critic steps between two penalties; a penalty costs as much as three steps", at_least=1, at_most=100_000
    )
    augment: float = key(0.05, "standard deviation of scale and offset of the critic's input", at_least=0, at_most=10)
    max_shift: int = key(2, "samples, largest shift of the critic's input", at_least=0, at_most=1000)
    texture: float = key(
        0.1, "weight of the critic of fine detail in the generator's loss", at_least=0, at_most=1_000_000
    )
    packed: bool = key(False, "the critics receive two beats of a class and record at a time")


@dataclass
class RectifiedFlowConfig(RecordGeneratorConfig):
    """Rectified flow from noise to beats (Liu et al. 2023): a generator without a critic."""

    _target_: str = "ecg.generators.rectified_flow.RectifiedFlow"
    lr: float = key(1e-3, "learning rate of Adam", above=0, at_most=1e38)
    beta1: float = key(0.9, "of Adam; Adam's default, since there is no critic", at_least=0, below=1)
    beta2: float = key(0.999, "of Adam; Adam's default", at_least=0, below=1)
    hidden: int = key(64, "channels at a quarter of the sampling rate", at_least=8, at_most=4096, multiple_of=8)
    steps: int = key(32, "Euler steps of a sample", at_least=1, at_most=10_000)
    guidance: float = key(1.0, "classifier-free guidance; 1: none", at_least=0, at_most=100)
    unconditional: float = key(
        0.1, "fraction of the training beats without condition, for the guidance", at_least=0, below=1
    )


@dataclass
class FitConfig:
    """How a generator is fitted and evaluated."""

    batch_size: int = key(128, "beats a step, in each process", at_least=1, at_most=1_000_000)
    class_power: float = key(
        0.25, "a class of n beats is sampled n ** class_power this often: 1 as it is, 0 equally", at_least=0, at_most=1
    )
    ema_decay: float | None = key(
        0.999, "decay of the averaged weights, per step; null: no averaging", above=0, below=1
    )
    leave_out: list[str] = key(
        [], "pairs CLASS:RECORD that are left out of the fit, such as V:119, to evaluate how well they are drawn"
    )
    n_compared: int = key(300, "beats a class compared with real beats after an epoch", at_least=1, at_most=100_000)
    n_evaluated: int = key(3000, "beats a class in the final evaluation", at_least=1, at_most=100_000)
    evaluation_steps: int | None = key(
        None,
        "training steps of each evaluation network; null: 800, and 60 for simulated recordings",
        at_least=1,
        at_most=1_000_000,
    )


@dataclass
class SynthesisConfig:
    """The synthetic set that is written."""

    per_class: Any = key(
        None,
        "class: number of beats, such as {S: 5000, F: 5000}",
        at_least=1,
        at_most=10_000_000,
        whole=True,
        example="{S: 5000, F: 5000}",
    )
    balance_to: str | None = key(
        None, "without per_class: class that smaller classes are filled up to; null: second largest"
    )
    pairs: Pairs = key(
        Pairs.seen, "seen | unseen: pairs of class and training record without training beats (embedding=normal_beats)"
    )
    record: str | None = key(None, "draw beats for this record only, which need not be a training record")
    csv: bool = key(False, "also write synthetic.csv, with the 188 columns of the Kaggle set")


@dataclass
class SynthConfig:
    """Fits a generator of heartbeats and writes a synthetic set."""

    name: str = key("${hydra:runtime.choices.generator}_${data.name}_${protocol.name}", "name of the run")
    seed: int = key(1, "seed of initialisation, order and noise; not of the split", at_least=0, at_most=LARGEST_SEED)
    checkpoint: str | None = key(None, "run folder of a fitted generator: sample more beats instead of fitting")
    resume: str | None = key(None, "run folder of an interrupted fit to continue")
    data: Any = MISSING
    protocol: Any = MISSING
    generator: Any = MISSING
    fit: FitConfig = field(default_factory=FitConfig)
    synth: SynthesisConfig = field(default_factory=SynthesisConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logger: Any = MISSING
    paths: PathsConfig = field(default_factory=PathsConfig)


# The options of each group whose options have different keys. Hydra stores them as schema/GROUP/OPTION.
SCHEMAS: dict[str, dict[str, type]] = {
    "data": {
        "simulated": SimulatedConfig,
        **dict.fromkeys(DATABASES, PhysioNetConfig),
        "kaggle_csv": KaggleCsvConfig,
        "wfdb": WfdbConfig,
    },
    "protocol": {
        "kaggle": KaggleProtocolConfig,
        "inter_patient": InterPatientConfig,
        "patient_kfold": PatientKFoldConfig,
        "cross_database": CrossDatabaseConfig,
        "all_records": AllRecordsConfig,
        "random": RandomConfig,
    },
    "augmentation/balance": {
        "none": NoBalanceConfig,
        "oversample": OversampleConfig,
        "undersample": UndersampleConfig,
        "smote": SmoteConfig,
        "smote_tomek": SmoteTomekConfig,
        "class_balanced": ClassBalancedConfig,
        "fusion": FusionConfig,
        "gan": GanConfig,
        "synthetic": SyntheticConfig,
    },
    "model": {"cnn": CNNConfig, "cnn_lstm": CNNLSTMConfig, "cnn_lstm_attn": CNNLSTMAttentionConfig},
    "loss": {"cross_entropy": CrossEntropyConfig, "focal": FocalConfig},
    "generator": {
        "lstm_gan": LSTMGANConfig,
        "wgan_gp": WGANGPConfig,
        "r3gan": R3GANConfig,
        "rectified_flow": RectifiedFlowConfig,
    },
    "logger": {
        "wandb": WandbConfig,
        "tensorboard": TensorboardConfig,
        "mlflow": MlflowConfig,
        "csv": CsvLoggerConfig,
        "none": NoLoggerConfig,
    },
}


def register() -> None:
    """Stores the schemas with Hydra, for the `defaults` lists of the YAML files."""
    store = ConfigStore.instance()
    store.store(group="schema", name="train", node=TrainConfig)
    store.store(group="schema", name="synth", node=SynthConfig)
    for group, options in SCHEMAS.items():
        for name, node in options.items():
            store.store(group=f"schema/{group}", name=name, node=node)
