"""Memory and disk space are compared with what is available before the work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecg import resources
from ecg.errors import UserError


def test_available_memory_is_limited_by_the_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_CGROUP", tmp_path)
    assert resources.available_memory() > 100_000_000
    for name, content in {"max": "5000", "current": "3000", "stat": "anon 2000\ninactive_file 1000\n"}.items():
        (tmp_path / f"memory.{name}").write_text(content)
    assert resources.available_memory() == 3000
    (tmp_path / "memory.max").write_text("max\n")
    assert resources.available_memory() > 100_000_000


def test_too_little_memory_names_what_is_needed_what_is_available_and_the_keys() -> None:
    with pytest.raises(UserError, match=r"Beats need about 2\.5 GB of memory\. Available: 1\.0 GB\. Decrease x\."):
        resources.require_memory(2.5e9, "Beats", "Decrease x.", available=1e9)
    resources.require_memory(1e9, "Beats", "Decrease x.", available=1e9)


def test_a_full_disk_is_refused_also_for_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    resources.require_disk(1, folder, "Beats", "Decrease x.")
    with pytest.raises(UserError, match=r"Beats need about 1,000,000\.0 TB of disk space in .*a/b\. .* Decrease x\."):
        resources.require_disk(1e18, folder, "Beats", "Decrease x.")
