"""Trains a heartbeat classifier and tests it: `python train.py model=cnn_lstm_attn data=mitbih protocol=kaggle`.

Every choice is a Hydra group under conf/, every key is documented in ecg/config.py; `--help` shows both.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from ecg import help
from ecg.config import TrainConfig, check, register, resumed
from ecg.errors import one_sentence
from ecg.sweep import job, resumed_sweep, run_alone

register()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@job
def main(cfg: DictConfig) -> float:
    """Trains, tests, reports; returns the validation macro-F1, by which runs are chosen."""
    cfg = resumed(cfg)
    check(cfg)
    # torch, Lightning and W&B take seconds to import: only now, when the configuration is known to be sound.
    from ecg import build, runs, scoring

    build.require_hardware(cfg)
    run_alone(cfg, __file__)
    with runs.start(cfg) as run:
        if run.result is not None:
            return run.result
        data = build.datamodule(cfg)
        classifier = build.classifier(cfg, data)
        trainer = build.trainer(cfg, run)
        trainer.fit(classifier, data, ckpt_path=run.last_checkpoint, weights_only=True)
        scores = scoring.score(cfg, trainer, classifier, data)
        run.finish(cfg, trainer, classifier, data, scores)
    return scores.validation_macro_f1


if __name__ == "__main__":
    with one_sentence():
        help.answer(TrainConfig, Path(__file__).parent / "conf" / "train.yaml")
        resumed_sweep()
        main()
