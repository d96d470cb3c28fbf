"""Makes heartbeats of the rare classes: `python synth.py generator=wgan_gp data=mitbih protocol=kaggle`.

Every choice is a Hydra group under conf/, every key is documented in ecg/config.py; `--help` shows both.
"""

from pathlib import Path

import hydra
from omegaconf import DictConfig

from ecg import help
from ecg.config import SynthConfig, check_synth, register, resumed
from ecg.errors import one_sentence
from ecg.sweep import job, resumed_sweep, run_alone

register()


@hydra.main(version_base="1.3", config_path="conf", config_name="synth")
@job
def main(cfg: DictConfig) -> float | None:
    """Fits and draws; returns the distance to the validation beats, by which generators are chosen."""
    cfg = resumed(cfg)
    check_synth(cfg)
    # torch, Lightning and W&B take seconds to import: only now, when the configuration is known to be sound.
    from ecg import build, runs, synthesis

    build.require_hardware(cfg)
    run_alone(cfg, __file__)
    with runs.start(cfg) as run:
        if run.result is not None:
            return run.result
        if cfg.checkpoint:
            synthesis.draw_more(cfg, run)
            return None
        data = build.datamodule(cfg)
        synthesizer = build.synthesizer(cfg, data)
        trainer = build.trainer(cfg, run)
        trainer.fit(synthesizer, data, ckpt_path=run.last_checkpoint, weights_only=True)
        return synthesis.finish(cfg, run, trainer, synthesizer, data)


if __name__ == "__main__":
    with one_sentence():
        help.answer(SynthConfig, Path(__file__).parent / "conf" / "synth.yaml")
        resumed_sweep()
        main()
