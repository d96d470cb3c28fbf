"""Trains and tests a heartbeat classifier: `python train.py model=cnn_lstm_attn data=mitbih protocol=kaggle`.

`--help` lists every group, option and key. `ecg train` does the same. The steps are in ecg/programs/train.py.
"""

from ecg.programs.train import start

if __name__ == "__main__":
    start()
