"""The plugin of dynamic providers loads the modules of the state's providers before its first request."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulumi_embedded.testing import Engine

pytest_plugins = ["pulumi_embedded.testing"]

KEPT = """
import os
from pathlib import Path
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class KeptProvider(ResourceProvider):
    def create(self, props):
        return CreateResult("kept", props)

    def delete(self, id, props):
        Path("deleted").touch()

class Kept(Resource, name="Kept"):
    def __init__(self, name):
        super().__init__(KeptProvider(), name, {})
"""


@pytest.fixture
def kept(engine: Engine, tmp_path: Path) -> Engine:
    """A stack with dynamic resources of two modules beside the program. The program no longer wants that of `kept`."""
    folder = tmp_path / "program"
    folder.mkdir()
    for name in ("kept", "other"):
        (folder / f"{name}.py").write_text(KEPT)
    other = "import other\nother.Kept('two')\n"
    (folder / "__main__.py").write_text(f"{other}import kept\nkept.Kept('one')\n")
    engine.program = folder
    engine.up()
    (folder / "__main__.py").write_text(other)
    return engine


def module(engine: Engine) -> Path:
    return Path(str(engine.program)) / "kept.py"


def test_a_module_is_loaded_though_no_call_needs_it(kept: Engine) -> None:
    loaded = module(kept).with_name("loaded")
    module(kept).write_text(KEPT + f"Path({str(loaded)!r}).touch()\n")

    main = module(kept).with_name("__main__.py")
    main.write_text(
        main.read_text() + "import time\nfrom pathlib import Path\nend = time.monotonic() + 30\n"
        f"while not Path({str(loaded)!r}).exists():\n"
        "    assert time.monotonic() < end, 'the plugin has not loaded it'\n    time.sleep(0.01)\n"
    )
    assert kept.preview().changes == {"same": 2, "delete": 1}


@pytest.mark.parametrize(
    "does",
    ["print('7')", "os.write(1, b'7')", "raise SystemExit(3)", "raise ValueError('why')", "import no_such_thing"],
)
def test_what_a_module_does_as_it_is_loaded_hinders_no_start(kept: Engine, does: str) -> None:
    module(kept).write_text(KEPT + does + "\n")
    assert kept.preview().changes == {"same": 2, "delete": 1}


def test_a_module_that_is_gone_is_an_error_of_the_call_that_needs_it(kept: Engine) -> None:
    module(kept).unlink()
    assert kept.preview().changes == {"same": 2, "delete": 1}
    refused = kept.up(expect_failure=True)
    assert any("No module named 'kept'" in error for error in refused.errors)


def test_a_provider_is_found_beside_the_program(kept: Engine) -> None:
    kept.up()
    assert module(kept).with_name("deleted").exists()
