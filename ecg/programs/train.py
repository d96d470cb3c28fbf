"""Trains and tests a heartbeat classifier: `ecg train model=cnn_lstm_attn data=mitbih protocol=kaggle`.

`--help` lists every group, option and key.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from ecg.command_line import run_program
from ecg.config.checks import check_train
from ecg.config.installation import CONF
from ecg.config.schema import TrainConfig, register
from ecg.config.stored import resumed
from ecg.error_reporting import job

register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
@job
def main(cfg: DictConfig) -> float:
    """Fits and evaluates a classifier; returns the validation macro-F1, by which runs are ranked."""
    cfg = resumed(cfg, TrainConfig)
    check_train(cfg)
    # Importing torch, Lightning and W&B takes seconds, so it waits until the configuration is checked.
    from ecg import build, classification, runs, sweeps, tracking

    build.prepare_hardware(cfg)
    sweeps.run_in_subprocess(cfg, "ecg.programs.train")
    with runs.open_run(cfg) as run, tracking.finish_on_exit():
        if run.result is not None:
            return run.result
        data = build.classification_data(cfg)
        classification.require_same_data(run, data)
        classifier = build.classifier(cfg, data)
        trainer = build.classification_trainer(cfg, run)
        if cfg.checkpoint:
            classification.load_fitted(cfg, trainer, classifier, data)
        else:
            trainer.fit(classifier, data, ckpt_path=run.last_checkpoint, weights_only=True)
        return classification.finish(cfg, run, trainer, classifier, data)


def start() -> None:
    """Runs the program with the arguments of the command line."""
    run_program(main, TrainConfig, CONF / "train.yaml")


if __name__ == "__main__":
    start()
