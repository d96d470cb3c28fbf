"""The schema: every option composes, every key is documented, defaults are valid."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest
from omegaconf import MISSING
from programs import CONF, composed

from ecg.config.checks import check_synth, check_train
from ecg.config.help_text import options
from ecg.config.schema import SCHEMAS, SynthConfig, TrainConfig, TrainerConfig

GROUPS = {
    "train": sorted(path.name for path in CONF.iterdir() if path.is_dir()),
    "synth": ["data", "generator", "logger"],
}
GROUPS["train"] = [*(name for name in GROUPS["train"] if name != "generator"), "augmentation/balance"]
CASES = [(program, group, name) for program in GROUPS for group in GROUPS[program] for name in options(CONF, group)]
# Experiments of synth.py are in the same folder as those of train.py.
CASES = [("synth" if name.endswith("_generator") else program, group, name) for program, group, name in CASES]


@pytest.mark.slow
@pytest.mark.parametrize(("program", "group", "option"), [case for case in CASES if case[2] != "common"])
def test_every_option_of_every_group_composes(program: str, group: str, option: str) -> None:
    assert composed(program, f"{group}={option}").seed == 1


@pytest.mark.parametrize("group", SCHEMAS)
def test_every_schema_is_an_option_and_every_option_has_a_schema(group: str) -> None:
    assert sorted(options(CONF, group)) == sorted(SCHEMAS[group])


def test_default_configurations_are_valid() -> None:
    check_train(composed("train"))
    check_synth(composed("synth"))


def test_trainer_keys_are_the_arguments_of_lightnings_trainer() -> None:
    import pytorch_lightning as pl

    # Objects cannot be stated in YAML; loggers and callbacks have groups.
    objects = {"self", "logger", "callbacks", "plugins", "model_registry"}
    keys = {field.name for field in dataclasses.fields(TrainerConfig)} - {"_target_"}
    assert keys == set(inspect.signature(pl.Trainer.__init__).parameters) - objects


def documented_fields(schema: Any) -> Iterator[tuple[str, dataclasses.Field[Any]]]:
    for field in dataclasses.fields(schema):
        if dataclasses.is_dataclass(field.default_factory):
            yield from documented_fields(field.default_factory)
        elif not field.name.startswith("_") and field.name not in SCHEMAS and field.name != "balance":
            yield f"{schema.__name__}.{field.name}", field


ALL_SCHEMAS = [TrainConfig, SynthConfig, *dict.fromkeys(s for options in SCHEMAS.values() for s in options.values())]


@pytest.mark.parametrize("schema", ALL_SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_key_is_documented(schema: Any) -> None:
    assert schema.__doc__
    assert [name for name, field in documented_fields(schema) if not field.metadata.get("doc")] == []


@pytest.mark.parametrize("schema", ALL_SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_number_has_a_lower_and_an_upper_limit(schema: Any) -> None:
    """Also every key of any type, which may hold a number, unless it has a list of choices or holds names."""
    for name, field in documented_fields(schema):
        valid, is_number = field.metadata["range"], re.search(r"\b(int|float)\b", str(field.type))
        if is_number or (field.type == "Any" and name != "WfdbConfig.patients"):
            assert valid is not None, name
            assert valid.bounded or (valid.choices and not is_number), name


@pytest.mark.parametrize("schema", ALL_SCHEMAS, ids=lambda schema: schema.__name__)
def test_every_default_is_valid(schema: Any) -> None:
    for name, field in documented_fields(schema):
        if field.metadata["range"] is not None and field.default not in (None, MISSING):
            assert field.default in field.metadata["range"], name
