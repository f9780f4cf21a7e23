"""Plan files have Pulumi's own format: a plan that the CLI saved is read, and a plan is saved in the same form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pulumi_embedded.cli.plan_file import PlanFile
from pulumi_embedded.errors import EngineError
from pulumi_embedded.model.values import SECRET_SIGNATURE, SIGNATURE
from pulumi_embedded.storage.checkpoint import Codec
from pulumi_embedded.storage.plan_document import parse_plan, plan_document
from pulumi_embedded.storage.secrets import Crypter

SAVED = Path(__file__).parents[2] / "fixtures/saved_plans"
# Plans saved by the Pulumi CLI, and by the first version of this engine. Names of fields never change.
FILES = [
    f"{engine}_{what}.json" for engine in ("cli_3_260_0", "embedded_2026_11_30") for what in ("changes", "new_stack")
]
WHOLE = "cli_3_260_0_new_stack.json"
SALT = "v1:rJ+R4Ya1Q+o=:v1:5jqDyyKtleEecS/u:BM5JYept0wdk+wAUiUG7ucRcUyceyA=="


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec(Crypter.open(SALT, ""))


def saved(name: str) -> str:
    return (SAVED / name).read_text()


def opened(value: Any) -> Any:
    """Return a document with its secrets in plain text."""
    if isinstance(value, list):
        return [opened(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get(SIGNATURE) == SECRET_SIGNATURE:
        return {"secret": Crypter.open(SALT, "").decrypt(value["ciphertext"])}
    return {key: opened(each) for key, each in value.items()}


@pytest.mark.parametrize("name", FILES)
def test_a_saved_plan_is_written_as_it_was_read(name: str, codec: Codec) -> None:
    document = json.loads(saved(name))
    written = plan_document(parse_plan(saved(name), "walk", "dev", codec), document["config"], codec)
    assert opened(json.loads(json.dumps(written["resourcePlans"]))) == opened(document["resourcePlans"])
    assert list(written) == list(document)
    assert list(written["resourcePlans"]) == sorted(document["resourcePlans"])
    assert written["manifest"].keys() == document["manifest"].keys()
    assert written["config"] == document["config"]
    for urn, plan in written["resourcePlans"].items():
        assert list(plan.get("goal", {})) == list(document["resourcePlans"][urn].get("goal", {}))


def test_fields_that_this_engine_does_not_know_are_ignored(codec: Codec) -> None:
    document = json.loads(saved(WHOLE))
    document["new"] = document["manifest"]["new"] = 1
    for plan in document["resourcePlans"].values():
        plan["new"] = plan["goal"]["new"] = {}
    assert parse_plan(json.dumps(document), "walk", "dev", codec) == parse_plan(saved(WHOLE), "walk", "dev", codec)


def edited(path: str, value: Any) -> str:
    """Return the CLI's plan with another value at a path. `*` stands for each resource."""
    document = json.loads(saved(WHOLE))

    def edit(part: Any, names: list[str]) -> None:
        for name in list(part) if names[0] == "*" else names[:1]:
            if len(names) > 1:
                edit(part[name], names[1:])
            else:
                part[name] = value

    edit(document, path.split("."))
    return json.dumps(document)


DAMAGED = "is damaged, or is no update plan"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", DAMAGED),
        (saved(WHOLE)[:-100], DAMAGED),
        ("[]", DAMAGED),
        ("{}", DAMAGED),
        ("[" * 100_000, DAMAGED),
        (edited("resourcePlans", None), DAMAGED),
        (edited("resourcePlans.*", []), DAMAGED),
        *((edited(f"resourcePlans.*.goal.{name}", 7), DAMAGED) for name in ("type", "inputDiff", "dependencies")),
        (edited("resourcePlans.*.goal.inputDiff", {"adds": []}), DAMAGED),
        (edited("resourcePlans.*.seed", "no base64!"), DAMAGED),
        (edited("resourcePlans.*.steps", ["migrate"]), "has the step 'migrate', which this engine does not know"),
        (edited("manifest.version", "v4.0.0"), "was saved by Pulumi v4.0.0, and this engine reads plans of 3.x"),
    ],
    ids=range(14),
)
def test_a_file_that_is_no_plan_is_refused_with_a_command(text: str, why: str, codec: Codec) -> None:
    with pytest.raises(EngineError) as refused:
        parse_plan(text, "walk", "dev", codec)
    assert str(refused.value) == why


def test_a_plan_of_another_stack_is_refused(codec: Codec) -> None:
    with pytest.raises(EngineError, match="is of the stack walk/dev, and this one is walk/prod"):
        parse_plan(saved(WHOLE), "walk", "prod", codec)


def test_a_plan_whose_secrets_cannot_be_decrypted_is_refused() -> None:
    with pytest.raises(EngineError, match="a secret cannot be decrypted with this stack's passphrase"):
        parse_plan(saved(WHOLE), "walk", "dev", Codec(Crypter.create("another")))


def test_a_plan_is_saved_in_a_folder_that_is_there(tmp_path: Path) -> None:
    PlanFile(tmp_path, "plan.json").require_folder()
    with pytest.raises(EngineError, match=r"the plan 'no/plan\.json' cannot be written: there is no folder"):
        PlanFile(tmp_path, "no/plan.json").require_folder()
