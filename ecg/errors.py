"""The exception for mistakes a user can mend, and how every mistake ends: in one sentence."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# Whether the user asked for tracebacks, and not `one_sentence` of the program that began this one.
_FULL_ERROR = os.environ.get("HYDRA_FULL_ERROR") == "1" and "ECG_ONE_SENTENCE" not in os.environ

_FILE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR}


class UserError(Exception):
    """Something the user can put right. Its message is one clear sentence that names the bad value and the remedy.

    The entry points print the message alone, without a traceback, and exit with a status other than 0.
    """


@contextmanager
def one_sentence() -> Iterator[None]:
    """Ends the program with one sentence where the configuration or the user's files are at fault.

    With `HYDRA_FULL_ERROR=1` in the environment the whole traceback is shown instead.
    """
    if _FULL_ERROR:
        yield
        return
    # Makes Hydra raise its errors instead of printing them with a hint at this variable.
    ours = ("HYDRA_FULL_ERROR", "ECG_ONE_SENTENCE")
    before = {name: os.environ.get(name) for name in ours}
    os.environ.update(dict.fromkeys(ours, "1"))
    try:
        yield
    except Exception as error:
        if (sentence := sentence_of(error)) is None:
            raise
        sys.exit(f"Error: {sentence}")
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def sentence_of(error: Exception) -> str | None:
    """What to tell whoever can put it right; None for a defect of the program."""
    if isinstance(error, ValueError) and str(error).startswith("No trials are completed"):  # Optuna's
        return "No trial of the search finished: the lines above say why."
    return str(error) if isinstance(error, UserError) else _configuration_sentence(error) or _system_sentence(error)


def _system_sentence(error: Exception) -> str | None:
    """A full disk, a read-only folder and the like."""
    if not isinstance(error, OSError) or error.errno not in _FILE_ERRORS:
        return None
    where = f" ({error.filename})" if error.filename else ""
    return f"Cannot write or read a file{where}: {error.strerror}. Choose another folder with hydra.run.dir=FOLDER."


def _configuration_sentence(error: BaseException) -> str | None:
    """What Hydra or OmegaConf found wrong; None for any other error."""
    from hydra.errors import HydraException, InstantiationException
    from omegaconf.errors import OmegaConfBaseException

    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    # What fails while an object is built is a defect of the program, not of the configuration.
    if not isinstance(error, HydraException | OmegaConfBaseException) or isinstance(error, InstantiationException):
        return None
    for link in chain:
        if isinstance(link, OmegaConfBaseException):
            return _of_omegaconf(link)
    if plugin := re.search(r"'hydra/(?:launcher|sweeper)/(joblib|submitit|optuna)", str(error)):
        return f"That needs an extra: pip install -e '.[{plugin[1]}]'."
    # Where a group option is unknown, Hydra lists the valid ones and then every folder it looked in.
    return " ".join(str(error).split("Config search path")[0].split())


def _of_omegaconf(error: Any) -> str:
    from omegaconf import DictConfig

    first = str(error.msg or error).splitlines()[0]
    parent = error.parent_node
    if isinstance(parent, DictConfig) and error.key is not None and error.key not in parent:
        where = error.full_key or error.key
        valid = ", ".join(str(key) for key in parent if not str(key).startswith("_"))
        return f"There is no key {where}: its valid neighbours are {valid}."
    return f"{error.full_key}: {first}." if error.full_key else f"{first}."
