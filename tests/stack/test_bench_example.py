"""The example of docs/testing.md, as it is printed there."""

import pulumi
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider, UpdateResult

from pulumi_embedded.testing import Engine, Secret

pytest_plugins = ["pulumi_embedded.testing"]


class FileProvider(ResourceProvider):
    def create(self, props):
        if "\0" in props["text"]:
            raise ValueError("a text holds no NUL")
        return CreateResult("file-1", {**props, "length": len(props["text"])})

    def diff(self, _id, _olds, _news):
        return DiffResult(changes=_olds["text"] != _news["text"])

    def update(self, _id, _olds, _news):
        return UpdateResult({**_news, "length": len(_news["text"])})


class File(Resource, module="example", name="File"):
    length: pulumi.Output[int]

    def __init__(self, name, text):
        super().__init__(FileProvider(), name, {"text": text, "length": None})


def program():
    greeting = File("greeting", pulumi.Config().require_secret("text"))
    pulumi.export("length", greeting.length)


def test_a_text_is_updated_in_place(engine: Engine) -> None:
    engine.program = program
    engine.config["project:text"] = Secret("hello")
    created = engine.up()
    assert created.changes == {"create": 2}
    assert created.outputs == {"length": 5}
    assert "text" in created.resource("greeting").secrets

    engine.config["project:text"] = Secret("hello, world")
    preview = engine.preview()
    assert preview.step("greeting").op == "update"
    assert preview.step("greeting").diff == {"text": "update"}

    assert engine.up().outputs == {"length": 12}
    assert not engine.up().has_changes


def test_a_text_with_a_nul_is_refused(engine: Engine) -> None:
    engine.program = program
    engine.config["project:text"] = "\0"
    refused = engine.up(expect_failure=True)
    assert "a text holds no NUL" in refused.errors[0]
    assert [each.name for each in refused.resources if each.type == "pulumi-python:dynamic/example:File"] == []
