"""How the programs end: one message for a mistake of the user, a traceback for a defect of the program."""

from __future__ import annotations

import functools
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from ecg.config.job import in_sweep
from ecg.errors import INSTALL, UserError, exit_after_interrupt, file_system_message, memory_message

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

Main = Callable[[DictConfig], float | None]

# Hydra raises its errors only with HYDRA_FULL_ERROR=1; otherwise it prints them. The second variable marks that this
# module set the first one, since a child process inherits both.
_FULL_ERROR, _SET_HERE = "HYDRA_FULL_ERROR", "ECG_MESSAGES"


def job(main: Main) -> Main:
    """Decorates the function of a job: errors end in a message. A failed job of a sweep does not stop the others."""

    @functools.wraps(main)
    def attempted(cfg: DictConfig) -> float | None:
        try:
            return main(cfg)
        except Exception as error:
            if _wants_tracebacks() and not in_sweep():
                raise
            message = _job_message(error, cfg)
            if message is None:
                traceback.print_exc()
            if not in_sweep():
                sys.exit(1 if message is None else f"Error: {message}")
            _report_failed_job(message or f"{type(error).__name__}: {error}")
            return None  # unlike NaN, None counts as a failure for sweepers

    return attempted


@contextmanager
def signals_as_exits() -> Iterator[None]:
    """Exits with the status 130 after SIGINT (Ctrl-C) and 143 after SIGTERM, so that open runs record their end."""

    def exit_after(number: int, _: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    def send_again(ignored: UnraisableHookArgs) -> None:
        # Python ignores every exception in a destructor, also that of a signal which arrives there.
        if isinstance(ignored.exc_value, KeyboardInterrupt):
            _send_later(signal.SIGINT)
        elif isinstance(ignored.exc_value, SystemExit) and ignored.exc_value.code == 128 + signal.SIGTERM:
            _send_later(signal.SIGTERM)
        else:
            hook(ignored)

    handler, hook = signal.signal(signal.SIGTERM, exit_after), sys.unraisablehook
    sys.unraisablehook = send_again
    try:
        yield
    except KeyboardInterrupt:
        exit_after_interrupt()
    finally:
        signal.signal(signal.SIGTERM, handler)
        sys.unraisablehook = hook


def _send_later(number: int) -> None:
    """Sends a signal to this process once the destructor that runs has probably returned."""
    timer = threading.Timer(0.05, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


@contextmanager
def composition_errors() -> Iterator[None]:
    """Exits with one message, if Hydra cannot compose the configuration or create the run folder."""
    if _wants_tracebacks():
        yield
        return
    before = {name: os.environ.get(name) for name in (_FULL_ERROR, _SET_HERE)}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    except Exception as error:
        if (message := _composition_message(error)) is None:
            raise
        sys.exit(f"Error: {message}")
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def _wants_tracebacks() -> bool:
    return os.environ.get(_FULL_ERROR) == "1" and _SET_HERE not in os.environ


def _job_message(error: Exception, cfg: DictConfig) -> str | None:
    if isinstance(error, UserError):
        return str(error)
    # By name, since an import of Lightning takes seconds.
    if type(error).__name__ == "MisconfigurationException":
        return f"Lightning refuses the trainer: {str(error).strip().splitlines()[0]}"
    folders = {"hydra.run.dir": str(cfg.paths.run_dir)}
    return memory_message(error) or file_system_message(error, folders)


def _report_failed_job(reason: str) -> None:
    from ecg.runs import record_failed_job

    hydra = HydraConfig.get()
    print(f"Error in job {hydra.job.num}: {reason}", file=sys.stderr)
    record_failed_job(Path(hydra.runtime.output_dir), reason, list(hydra.overrides.task))


def _composition_message(error: Exception) -> str | None:
    """The message for an error raised outside a job; None for a defect."""
    for cause in _causes(error):  # a UserError of a resolver has become the cause of an error of OmegaConf
        if isinstance(cause, UserError):
            return str(cause)
    if isinstance(error, ValueError) and str(error).startswith("No trials are completed"):  # Optuna's
        return "No trial of the search finished. The messages above give the reasons."
    if isinstance(error, ValueError) and str(error).startswith("Config group override must be"):  # Hydra's
        null = ", ".join(word for word in sys.argv[1:] if word.endswith(("=null", "=")))
        return f"A group cannot be null: {null}. Choose one of its options; --help lists them."
    if isinstance(error, OverrideParseException):
        return _override_message(error.override)
    if message := file_system_message(error, {"hydra.run.dir": ""}):
        return message
    # An object that cannot be created is a defect of the program.
    if not isinstance(error, HydraException | OmegaConfBaseException) or isinstance(error, InstantiationException):
        return None
    for cause in _causes(error):
        if isinstance(cause, OmegaConfBaseException):
            return _key_message(cause)
    if plugin := re.search(r"'hydra/(?:launcher|sweeper)/(joblib|submitit|optuna)", str(error)):
        return f"This option needs an extra. Install it with: {INSTALL.format(plugin[1])}"
    # Hydra appends every folder of its search path.
    return " ".join(str(error).split("Config search path")[0].split())


def _override_message(override: str) -> str:
    """The message for an override that does not follow Hydra's grammar."""
    key, _, value = override.partition("=")
    if value.startswith(("[", "{")):
        return f"Cannot read {override}. Write a list as '{key}=[A,B]' and a mapping as '{key}={{A: 1, B: 2}}'."
    quoted = value.strip("'\"").replace("'", r"\'")
    example = f"\"{key}='{quoted}'\"" if value else "\"name='my run'\""
    return (
        f"Cannot read {override}. Write it as KEY=VALUE or GROUP=OPTION, and a value with spaces, letters outside "
        f"ASCII or special characters in two pairs of quotes: {example}."
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        yield current
        current = current.__cause__ or current.__context__


def _key_message(error: Any) -> str:
    first = str(error.msg or error).splitlines()[0].rstrip(".")
    parent = error.parent_node
    if isinstance(parent, DictConfig) and error.key is not None and error.key not in parent:
        valid = ", ".join(str(key) for key in parent if not str(key).startswith("_"))
        return f"Unknown key {error.full_key or error.key}. Valid keys: {valid or 'none, with this option'}."
    if "is not a ListConfig" in first:
        return f"{error.full_key} must be a list. Write it as '{error.full_key}=[A,B]'."
    return f"{error.full_key}: {first}." if error.full_key else f"{first}."
