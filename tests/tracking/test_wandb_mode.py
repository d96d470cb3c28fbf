"""The mode of W&B by configuration, environment, netrc and settings file."""

from __future__ import annotations

from pathlib import Path

import pytest
from tracking_factories import KEY

from ecg.errors import UserError
from ecg.tracking.wandb_mode import resolve_mode


@pytest.mark.parametrize(
    ("explicit", "environ", "expected"),
    [
        (None, {}, "offline"),
        (None, {"WANDB_API_KEY": KEY}, "online"),
        (None, {"WANDB_API_KEY": ""}, "offline"),
        (None, {"WANDB_IDENTITY_TOKEN_FILE": "token"}, "online"),
        ("offline", {"WANDB_API_KEY": KEY}, "offline"),
        ("online", {}, "online"),
        ("online", {"WANDB_MODE": "disabled", "WANDB_DISABLED": "true"}, "online"),
        ("disabled", {"WANDB_MODE": "online"}, "disabled"),
        (None, {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "offline"),
        (None, {"WANDB_MODE": "online"}, "online"),
        (None, {"WANDB_MODE": "disabled"}, "disabled"),
        (None, {"WANDB_MODE": "dryrun", "WANDB_API_KEY": KEY}, "offline"),
        (None, {"WANDB_MODE": "run"}, "online"),
        (None, {"WANDB_MODE": ""}, "offline"),
        (None, {"WANDB_MODE": "offline", "WANDB_DISABLED": "true"}, "offline"),
        (None, {"WANDB_DISABLED": "true", "WANDB_API_KEY": KEY}, "disabled"),
        (None, {"WANDB_DISABLED": "false", "WANDB_API_KEY": KEY}, "online"),
    ],
)
def test_mode_by_environment(explicit: str | None, environ: dict[str, str], expected: str, home: Path) -> None:
    assert resolve_mode(explicit, {"HOME": str(home), **environ}) == expected


@pytest.mark.parametrize(
    ("text", "environ", "expected"),
    [
        (f"machine api.wandb.ai\n  login user\n  password {KEY}\n", {}, "online"),
        (f"default login user password {KEY}\n", {}, "online"),
        (f"machine github.com\n  login user\n  password {KEY}\n", {}, "offline"),
        (f"machine github.com\n  login user\n  password {KEY}\n", {"WANDB_BASE_URL": "https://w.org"}, "offline"),
        (f"machine w.org:80 login user password {KEY}\n", {"WANDB_BASE_URL": "http://w.org:80"}, "online"),
        ("machine api.wandb.ai\n  login user\n", {}, "offline"),
        ("not a netrc file\n", {}, "offline"),
        ("", {}, "offline"),
    ],
)
@pytest.mark.parametrize("name", [".netrc", "_netrc", "elsewhere"])
def test_mode_by_netrc(name: str, text: str, environ: dict[str, str], expected: str, home: Path) -> None:
    path = home / name
    path.write_text(text)
    path.chmod(0o600)
    environ = environ | ({"NETRC": str(path)} if name == "elsewhere" else {})
    assert resolve_mode(None, {"HOME": str(home), **environ}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"[default]\napi_key = {KEY}\n", "online"),
        (f"[default]\nmode = offline\napi_key = {KEY}\n", "offline"),
        ("[default]\nmode = disabled\n", "disabled"),
        ("[default]\nbase_url = https://w.org\n", "online"),
        ("no section\n", "offline"),
    ],
)
def test_mode_by_settings_file(text: str, expected: str, home: Path) -> None:
    folder = home / ".config" / "wandb"
    folder.mkdir(parents=True)
    (folder / "settings").write_text(text)
    (home / ".netrc").write_text(f"machine w.org login user password {KEY}\n")
    assert resolve_mode(None, {"HOME": str(home)}) == expected


def test_the_settings_file_of_the_working_folder_has_precedence(home: Path) -> None:
    for folder, mode in ((home / ".config" / "wandb", "online"), (Path("wandb"), "disabled")):
        folder.mkdir(parents=True)
        (folder / "settings").write_text(f"[default]\nmode = {mode}\n")
    assert resolve_mode(None, {"HOME": str(home)}) == "disabled"


@pytest.mark.parametrize(
    ("explicit", "environ"), [("ofline", {}), ("", {}), ("shared", {}), (None, {"WANDB_MODE": "on"})]
)
def test_an_unknown_mode_is_an_error_with_the_valid_modes(explicit: str | None, environ: dict[str, str]) -> None:
    with pytest.raises(UserError, match="Valid modes: online, offline, disabled") as error:
        resolve_mode(explicit, environ)
    assert repr(explicit if explicit is not None else environ["WANDB_MODE"]) in str(error.value)
