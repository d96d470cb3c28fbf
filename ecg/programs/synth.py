"""Fits a generator and writes synthetic heartbeats: `ecg synth generator=wgan_gp data=mitbih protocol=kaggle`.

`--help` lists every group, option and key.
"""

from __future__ import annotations

import hydra
from omegaconf import DictConfig

from ecg.command_line import run_program
from ecg.config.checks import check_synth
from ecg.config.installation import CONF
from ecg.config.schema import SynthConfig, register
from ecg.config.stored import resumed
from ecg.error_reporting import job

register()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="synth")
@job
def main(cfg: DictConfig) -> float | None:
    """Fits and evaluates a generator; returns the distance to real beats, by which generators are ranked."""
    cfg = resumed(cfg, SynthConfig)
    check_synth(cfg)
    # Importing torch, Lightning and W&B takes seconds, so it waits until the configuration is checked.
    from ecg import build, runs, sweeps, synthesis, tracking

    build.prepare_hardware(cfg)
    sweeps.run_in_subprocess(cfg, "ecg.programs.synth")
    with runs.open_run(cfg) as run, tracking.finish_on_exit():
        if run.result is not None:
            return run.result
        if cfg.checkpoint:
            synthesis.sample_more(cfg, run)
            return None
        data = build.synthesis_data(cfg)
        run.require_same(beats_sha256=data.beats.digest())
        synthesis.require_space(cfg, run, data)
        synthesizer = build.synthesizer(cfg, data)
        trainer = build.synthesis_trainer(cfg, run)
        trainer.fit(synthesizer, data, ckpt_path=run.last_checkpoint, weights_only=True)
        return synthesis.finish(cfg, run, trainer, synthesizer, data)


def start() -> None:
    """Runs the program with the arguments of the command line."""
    run_program(main, SynthConfig, CONF / "synth.yaml")


if __name__ == "__main__":
    start()
