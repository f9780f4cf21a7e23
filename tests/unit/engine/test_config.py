"""An edit of a stack's configuration changes one value and nothing else in the file."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.values import ConfigValue, Secret
from pulumi_embedded.storage.config import ConfigFile, package_config
from pulumi_embedded.storage.workspace import Project

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
    expected = TEXT.replace("app # who", "other").replace('"5432"\n', '"5432"\n  rec:fresh: "5"\n')
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
    assert (tmp_path / "Pulumi.dev.yaml").read_text() == "config: {}\n"


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


@pytest.mark.parametrize(
    ("declared", "values", "message"),
    [
        ({"a": {"type": "string"}}, {}, "is missing configuration value 'a'; set it:\n  .* config set a VALUE -s dev"),
        (
            {"a": {"type": "string"}, "b": {}, "c": {"secret": True}},
            {},
            "missing configuration values 'a', 'b' and 'c'",
        ),
        ({"n": {"type": "integer"}}, {"n": "five"}, "key 'n' must be of type 'integer'"),
        ({"l": {"type": "array", "items": {"type": "boolean"}}}, {"l": [True, 2]}, "must be of type 'array<boolean>'"),
        ({"p": {"type": "string", "secret": True}}, {"p": "x"}, "'p' must be encrypted as it's secret"),
    ],
)
def test_what_the_project_declares_and_the_stack_has_not_is_named(
    tmp_path: Path, declared: dict[str, object], values: dict[str, object], message: str
) -> None:
    config = _config(tmp_path, config=declared)
    for key, value in values.items():
        config.set(key, value)
    with pytest.raises(EngineError, match=message):
        config.check()


def test_declared_defaults_are_values_and_what_fits_is_not_complained_of(tmp_path: Path) -> None:
    config = _config(tmp_path, config={"name": {"type": "string"}, "size": {"type": "integer", "default": 3}})
    config.set("name", "x")
    config.check()
    assert {key: value.text for key, value in config.values().items()} == {"rec:name": "x", "rec:size": "3"}


def test_a_path_leads_into_objects_and_every_other_line_stays(config: ConfigFile) -> None:
    """The result is what the CLI 3.260 writes, except for the order of new keys."""
    config.set("server.ports[0]", "80", path=True)
    config.set("server.ports[1]", "007", path=True)
    config.set('server["a.b"].on', "true", path=True)
    config.set("server.password", "hunter2", path=True, secret=True)
    assert config.path.read_text().replace(config.as_written()["rec:server"]["password"]["secure"], "SEALED") == (
        TEXT.replace(
            'port: "5432"\n',
            'port: "5432"\n  rec:server:\n    ports:\n      - 80\n      - "007"\n    a.b:\n      "on": true\n'
            "    password:\n      secure: SEALED\n",
        )
    )
    value = config.values()["rec:server"]
    assert value.text == '{"a.b":{"on":true},"password":"hunter2","ports":[80,"007"]}'
    assert value.blinded == '{"a.b":{"on":true},"password":"[secret]","ports":[80,"007"]}'
    assert (value.secret, value.secrets) == (True, ("hunter2",))
    found = config.get("server.ports[1]", path=True)
    assert found is not None and found.text == "007"
    assert config.get("server.ports[2]", path=True) is None
    for path in ("server.ports[0]", "server.ports[0]", "server.password", "server.nothing.here"):
        config.remove(path, path=True)
    assert config.as_written()["rec:server"] == {"ports": [], "a.b": {"on": True}}


@pytest.mark.parametrize("path", ["list[3]", "list.a", "list[0].a", "deep.secure"])
def test_a_path_that_leads_nowhere_is_refused_and_nothing_is_written(config: ConfigFile, path: str) -> None:
    with pytest.raises(EngineError, match=r"^could not set config: "):
        config.set(path, "x", path=True)
    assert config.path.read_text() == TEXT


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("yes", "yes"),
        ("1_000", "1000"),
        ("0x1F", "31"),
        ("010", "8"),
        ("1e3", "1000"),
        ("1.0", "1"),
        ("1e30", "1e+30"),
        ("12:30:45", "12:30:45"),
        ("2020-01-01", "2020-01-01 00:00:00 +0000 UTC"),
        ("~", ""),
        ("{1: a, s: <é>}", '{"1":"a","s":"\\u003cé\\u003e"}'),
    ],
)
def test_yaml_is_read_as_the_cli_reads_it(tmp_path: Path, written: str, text: str) -> None:
    """The texts are from `pulumi config --json`, CLI 3.260."""
    (tmp_path / "Pulumi.dev.yaml").write_text(f"config:\n  rec:a: {written}\n")
    assert _config(tmp_path).values()["rec:a"].text == text
