"""The mode of W&B: online, offline or disabled. Needs neither the network nor an answer from the user."""

from __future__ import annotations

import configparser
import netrc
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal, cast
from urllib.parse import urlsplit

from ecg.errors import UserError

Mode = Literal["online", "offline", "disabled"]
MODES = ("online", "offline", "disabled")
OLD_NAMES = {"run": "online", "dryrun": "offline"}  # still valid values of WANDB_MODE


def resolve_mode(explicit: str | None, environ: Mapping[str, str] = os.environ) -> Mode:
    """Returns the mode of W&B.

    The first that is set decides: `explicit`, WANDB_MODE, WANDB_DISABLED, the settings file that `wandb offline` and
    `wandb online` write. Without any of them the mode is online if credentials exist, else offline.

    Args:
        explicit: logger.mode of the configuration.
        environ: environment variables.

    Raises:
        UserError: the mode is unknown.
    """
    if explicit is not None:
        return _check(explicit, "logger.mode")
    if variable := environ.get("WANDB_MODE"):
        return _check(OLD_NAMES.get(variable, variable), "WANDB_MODE")
    if environ.get("WANDB_DISABLED", "").lower() not in ("", "0", "false", "no", "off"):
        return "disabled"
    if setting := _settings_file(environ).get("mode"):
        return _check(OLD_NAMES.get(setting, setting), "The mode in the settings file of W&B")
    return "online" if has_credentials(environ) else "offline"


def _check(mode: str, origin: str) -> Mode:
    if mode not in MODES:
        raise UserError(f"{origin} is {mode!r}. Valid modes: {', '.join(MODES)}.")
    return cast(Mode, mode)


def has_credentials(environ: Mapping[str, str] = os.environ) -> bool:
    """Returns whether a key or a token for the W&B server exists. Without one, W&B would prompt for it.

    Args:
        environ: environment variables.
    """
    if environ.get("WANDB_API_KEY") or environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    settings = _settings_file(environ)
    url = environ.get("WANDB_BASE_URL") or settings.get("base_url") or "https://api.wandb.ai"
    return bool(settings.get("api_key")) or _in_netrc(urlsplit(url).netloc, environ)


def _in_netrc(host: str, environ: Mapping[str, str]) -> bool:
    home, variable = _home(environ), environ.get("NETRC")
    candidates = [Path(variable).expanduser()] if variable else [home / ".netrc", home / "_netrc"]
    try:
        path = next((path for path in candidates if path.exists()), None)
        entry = netrc.netrc(path).authenticators(host) if path else None
    except (netrc.NetrcParseError, OSError, UnicodeDecodeError):
        return False
    return entry is not None and bool(entry[2])


def _settings_file(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings of `wandb login --host`, `wandb offline` and the like. The file of the working folder has precedence."""
    parser = configparser.ConfigParser(interpolation=None)
    folder = Path(environ.get("WANDB_CONFIG_DIR") or _home(environ) / ".config" / "wandb").expanduser()
    with suppress(configparser.Error, OSError, UnicodeDecodeError):
        parser.read([folder / "settings", Path("wandb", "settings")])
    return dict(parser["default"]) if parser.has_section("default") else {}


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or environ.get("USERPROFILE") or Path.home())
