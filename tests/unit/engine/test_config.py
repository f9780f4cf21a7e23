"""Editing a stack's configuration changes one value and nothing else of the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.storage.config import ConfigFile, ConfigValue, package_config
from pulumi_embedded.storage.workspace import Project
from pulumi_embedded.values import Secret

TEXT = """\
# The development stack.
config:
  rec:name: app # who
  rec:list:
    - a
    - b
  # The server.
  postgresql:port: "5432"
encryptionsalt: v1:rJ+R4Ya1Q+o=:v1:5jqDyyKtleEecS/u:BM5JYept0wdk+wAUiUG7ucRcUyceyA==
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConfigFile:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "")
    (tmp_path / "Pulumi.dev.yaml").write_text(TEXT)
    return _config(tmp_path)


def _config(folder: Path, **settings: object) -> ConfigFile:
    return ConfigFile(Project("rec", folder / "Pulumi.yaml", {"name": "rec", **settings}), "dev")


def test_setting_a_value_keeps_comments_and_order(config: ConfigFile) -> None:
    config.set("name", "other", secret=False)
    config.set("fresh", "5", secret=False)
    expected = TEXT.replace("app # who", "other").replace('"5432"\n', "\"5432\"\n  rec:fresh: '5'\n")
    assert config.path.read_text() == expected


def test_replacing_and_removing_a_list_takes_all_its_lines(config: ConfigFile) -> None:
    config.set("list", "x", secret=False)
    assert "  rec:list: x\n  # The server.\n" in config.path.read_text()
    config.remove("list")
    assert config.path.read_text() == TEXT.replace("  rec:list:\n    - a\n    - b\n", "")
    config.remove("never there")


def test_removing_the_last_value_leaves_a_file_that_reads(tmp_path: Path) -> None:
    (tmp_path / "Pulumi.dev.yaml").write_text("config:\n  rec:a: b\n")
    config = _config(tmp_path)
    config.remove("a")
    assert _config(tmp_path).values() == {}


def test_the_first_secret_of_a_stack_brings_its_salt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "long")
    config = _config(tmp_path)
    config.set("password", "hunter2", secret=True)
    text = config.path.read_text()
    assert "hunter2" not in text and "encryptionsalt: v1:" in text
    assert _config(tmp_path).values() == {"rec:password": ConfigValue("hunter2", True)}
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "short")
    with pytest.raises(EngineError, match=r"^incorrect passphrase"):
        _config(tmp_path).values()


def test_values_are_texts_objects_json_and_a_default_provider_gets_its_own(config: ConfigFile) -> None:
    config.set("secret", "s", secret=True)
    values = config.values()
    assert values["rec:list"] == ConfigValue('["a","b"]', False, True)
    assert package_config(values, "postgresql") == {"port": "5432"}
    everything = package_config(values, "pulumi-python")
    assert everything["postgresql:port"] == "5432" and everything["rec:secret"] == Secret("s")


def test_a_required_value_that_is_missing_is_named_with_the_command(tmp_path: Path) -> None:
    declared = {"name": {"type": "string"}, "size": {"default": 3}}
    config = _config(tmp_path, config=declared)
    with pytest.raises(EngineError, match=r"missing configuration value 'name'.*\n.*config set name VALUE -s dev"):
        config.values()
    config.set("name", "x", secret=False)
    assert {key: value.text for key, value in config.values().items()} == {"rec:name": "x", "rec:size": "3"}
