"""Trains a heartbeat classifier and tests it: `python train.py model=cnn_lstm_attn data=mitbih protocol=kaggle`.

Every choice is a Hydra group under conf/, every key is documented in ecg/config.py; `--help` shows both.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from ecg import help
from ecg.config import TrainConfig, check, register
from ecg.errors import one_sentence

register()


@hydra.main(version_base="1.3", config_path="conf", config_name="train")
@one_sentence()
def main(cfg: DictConfig) -> float:
    """Trains, tests, reports; returns the validation macro-F1, by which runs are chosen."""
    check(cfg)
    # torch, Lightning and W&B take seconds to import: only now, when the configuration is known to be sound.
    from ecg import build, runs, scoring

    build.require_hardware(cfg)
    with runs.start(cfg) as run:
        data = build.datamodule(cfg)
        classifier = build.classifier(cfg, data)
        trainer = build.trainer(cfg, run)
        trainer.fit(classifier, data)
        scores = scoring.score(cfg, trainer, classifier, data)
        run.finish(cfg, trainer, classifier, data, scores)
    return scores.validation_macro_f1


if __name__ == "__main__":
    with one_sentence():
        help.answer(TrainConfig, Path(__file__).parent / "conf" / "train.yaml")
        main()
