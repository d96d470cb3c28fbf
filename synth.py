"""Fits a generator and writes synthetic heartbeats: `python synth.py generator=wgan_gp data=mitbih protocol=kaggle`.

`--help` lists every group, option and key. `ecg synth` does the same. The steps are in ecg/programs/synth.py.
"""

from ecg.programs.synth import start

if __name__ == "__main__":
    start()
