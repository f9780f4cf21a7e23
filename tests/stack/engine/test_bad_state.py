"""An unusable state, passphrase or folder is a clear error, and no file changes."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from .faulty.bench import URN, Bench, Launcher, Things
from .faulty.launcher import SALT

UP = "up --yes --skip-preview"
# This command needs no program, so it is refused the fastest.
DESTROY = "destroy --yes --skip-preview"
PROVIDER = "urn:pulumi:dev::faulty::pulumi:providers:faulty::default"
SIGNATURE = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
# "sealed" under another passphrase.
FOREIGN = {**SIGNATURE, "ciphertext": "v1:li7S96x33G2nMave:B9llNQJTDBJhe3JwpVRaZtiGM4Q6"}


@pytest.fixture(scope="module")
def made(launcher: Launcher, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """A stack with the things `a` and `b`, where `b` refers to `a`."""
    bench = Bench.new(tmp_path_factory.mktemp("made") / "bench", launcher)
    bench.declare({"a": {"value": "1"}, "b": {"value": "1", "of": "a"}})
    done = bench.run(UP)
    assert done.code == 0, done.output
    return bench


def files(bench: Bench) -> dict[str, bytes]:
    """Return every file in the backend's folder and the project's, with its content."""
    return {
        str(path.relative_to(bench.project)): path.read_bytes()
        for path in bench.project.rglob("*")
        if path.is_file() and ".venv" not in path.parts
    }


def refused(bench: Bench, *commands: str, **environment: str) -> str:
    """Return the text after `error: `. Assert that all commands refuse with the same text, and change nothing."""
    before, said = files(bench), set()
    for command in commands:
        done = bench.run(command, **environment)
        assert done.code not in (0, -9), done.output
        heading, error, message = done.output.partition("error: ")
        assert error and heading.count("\n") <= 1 and "Traceback" not in done.output
        assert files(bench) == before
        assert bench.calls() == []
        said.add(message)
    (only,) = said
    return only


Spoil = Callable[[dict[str, Any]], Any]


def things(document: dict[str, Any]) -> list[dict[str, Any]]:
    return document["checkpoint"]["latest"]["resources"]


def thing(document: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in things(document) if each["urn"] == URN + name)


def latest(key: str, value: object) -> Spoil:
    return lambda document: document["checkpoint"]["latest"].update({key: value})


def of_a(key: str, value: object) -> Spoil:
    return lambda document: thing(document, "a").update({key: value})


BUILT_WRONGLY: dict[str, tuple[Spoil, str]] = {
    "a list": (lambda document: document["checkpoint"].update(latest=[1]), "it must be an object"),
    "no checkpoint": (lambda document: document.pop("checkpoint"), "it holds no checkpoint"),
    "no version": (lambda document: document.pop("version"), "its format version is None"),
    "resources": (latest("resources", {"a": 1}), "resources must be a list"),
    "a resource": (latest("resources", [1]), "resource 0 must be an object"),
    "no urn": (lambda document: thing(document, "a").pop("urn"), "resource 2 has no urn"),
    "no type": (lambda document: thing(document, "a").pop("type"), f"{URN}a has no type"),
    "an id": (of_a("id", 7), "id must be a text"),
    "inputs": (of_a("inputs", []), "inputs must be an object"),
    "custom": (of_a("custom", "yes"), "custom must be true or false"),
    "dependencies": (of_a("dependencies", [{}]), f"an element of {URN}a, dependencies, must be a text"),
    "propertyDependencies": (of_a("propertyDependencies", {"x": "y"}), "propertyDependencies, x must be a list"),
    "pending": (latest("pending_operations", [{}]), "pending operation 0 has no type"),
    "pending resource": (
        latest("pending_operations", [{"type": "creating"}]),
        "the resource of pending operation 0 must be an object",
    ),
    "a secret without text": (of_a("outputs", {"value": SIGNATURE}), f"a secret of {URN}a is none"),
    "a plain secret": (of_a("outputs", {"value": {**SIGNATURE, "plaintext": "{"}}), f"a secret of {URN}a is none"),
    "the secrets provider": (latest("secrets_providers", "passphrase"), "secrets_providers must be an object"),
    "dependency": (of_a("dependencies", [URN + "gone"]), f"{URN}a depends on {URN}gone, which is not there"),
    "order": (of_a("dependencies", [URN + "b"]), f"{URN}a depends on {URN}b, which comes after it"),
    "itself": (of_a("dependencies", [URN + "a"]), f"{URN}a depends on {URN}a, which comes after it"),
    "parent": (of_a("parent", URN + "gone"), f"{URN}a depends on {URN}gone, which is not there"),
    "provider": (of_a("provider", f"{PROVIDER}::other"), f"{URN}a refers to the unknown provider {PROVIDER}::other"),
    "twice": (
        lambda document: things(document).append(copy.deepcopy(thing(document, "a"))),
        f"{URN}a is there 2 times and not marked for deletion",
    ),
    "a component's id": (of_a("custom", False), f"{URN}a is no custom resource and has an id"),
}


@pytest.mark.few(3)
@pytest.mark.parametrize(("spoil", "message"), BUILT_WRONGLY.values(), ids=list(BUILT_WRONGLY))
def test_a_state_that_no_engine_wrote_is_refused(bench: Bench, spoil: Spoil, message: str) -> None:
    document = json.loads(bench.state_file.read_text())
    spoil(document)
    bench.state_file.write_text(json.dumps(document))
    said = refused(bench, DESTROY)
    assert f"the state is damaged: {message}" in said or f", {message}" in said
    assert str(bench.state_file) in said
    assert "dev.json.bak beside it" in said


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the state is damaged: it is empty"),
        (b"\xff\xfe\x00", "the state is damaged: it is no text (invalid start byte at byte 0)"),
        (b"{" * 100000, "the state is damaged"),
        (b"[]", "the state is damaged: it is no JSON object"),
        (b'{"version": 4, "features": ["hooks"], "checkpoint": {}}', "the format version 4 with hooks"),
        (
            b'{"version": 12}',
            "the format version 12; this engine reads 3, and 4 with replaceWith, taint: use the Pulumi CLI",
        ),
        (b'{"version": 3, "checkpoint": {"latest": {"version": NaN}}}', "the state is damaged: NaN is no number"),
    ],
    ids=["empty", "binary", "deep", "list", "newer", "much newer", "NaN"],
)
def test_what_is_no_state_file_is_refused(bench: Bench, content: bytes, message: str) -> None:
    bench.state_file.write_bytes(content)
    assert message in refused(bench, DESTROY, "stack export", "stack ls")


def test_a_truncated_state_is_refused_wherever_it_ends(bench: Bench) -> None:
    whole = bench.state_file.read_bytes()
    for length in range(1, len(whole), len(whole) // 7):
        bench.state_file.write_bytes(whole[:length])
        assert "the state is damaged: " in refused(bench, DESTROY)


def test_a_damaged_state_is_replaced_by_an_export_of_an_older_one(bench: Bench) -> None:
    exported = bench.folder / "export.json"
    assert bench.run(f"stack export --file {exported}").code == 0
    bench.state_file.write_text("{")
    refused(bench, UP, DESTROY, "preview", "refresh --yes --skip-preview", "stack output")
    assert bench.run(f"stack import --file {exported}").code == 0
    done = bench.run(f"{UP} --expect-no-changes")
    assert done.code == 0, done.output


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "it is empty"), ("[]", "it is no JSON object"), ('{"version": "x"}', "its format version is 'x'")],
)
def test_an_import_of_rubbish_blames_the_file(bench: Bench, content: str, message: str) -> None:
    file = bench.folder / "export.json"
    file.write_text(content)
    said = refused(bench, f"stack import --file {file}")
    assert said == f"{file} is no exported deployment: {message}; the state was not changed\n"


def test_an_import_forgets_what_was_pending_and_says_so(bench: Bench) -> None:
    document = json.loads(bench.state_file.read_text())
    latest = document["checkpoint"]["latest"]
    latest["pending_operations"] = [{"resource": thing(document, "a"), "type": "updating"}]
    file = bench.folder / "export.json"
    file.write_text(json.dumps({"version": 3, "deployment": latest}))
    done = bench.run(f"stack import --file {file}")
    assert done.code == 0
    assert f"warning: removing pending operation 'updating' on '{URN}a' from snapshot" in done.output
    assert not bench.pending()


def test_a_secret_of_another_key_is_refused_and_named(bench: Bench) -> None:
    document = json.loads(bench.state_file.read_text())
    thing(document, "a")["outputs"]["value"] = FOREIGN
    bench.state_file.write_text(json.dumps(document))
    assert f"{URN}a: a secret cannot be decrypted with this stack's passphrase" in refused(bench, UP)


def test_a_passphrase_that_is_wrong_or_missing_is_an_error(bench: Bench) -> None:
    wrong = refused(bench, UP, "preview", PULUMI_CONFIG_PASSPHRASE="wrong")
    assert wrong.startswith("incorrect passphrase")
    nowhere = str(bench.folder / "nowhere")
    (bench.project / "Pulumi.dev.yaml").write_text(f"encryptionsalt: {SALT}")
    missing = bench.run(UP, unset="PULUMI_CONFIG_PASSPHRASE")
    assert missing.code == 1
    assert "passphrase must be set with PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE" in missing.output
    unread = bench.run(UP, unset="PULUMI_CONFIG_PASSPHRASE", PULUMI_CONFIG_PASSPHRASE_FILE=nowhere)
    assert unread.code == 1 and "unable to read PULUMI_CONFIG_PASSPHRASE_FILE" in unread.output


def test_a_lock_file_of_any_name_locks_as_for_the_cli(bench: Bench) -> None:
    folder = bench.project / ".state/.pulumi/locks/organization/faulty/dev"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "half-written").touch()
    assert "half-written: unreadable" in refused(bench, UP)
    assert bench.run("cancel --yes").code == 0
    assert bench.run(UP).code == 0


WANTED: Things = {"a": {"value": "1"}, "b": {"value": "1", "of": "a"}, "c": {"value": "1"}}


class TestTheStateCannotBeWritten:
    """The result of the operation is saved, and its import continues from there."""

    def goes_on(self, bench: Bench, output: str) -> None:
        command = next(line for line in output.splitlines() if "pulumi-embedded stack import" in line)
        done = bench.run(command.strip().removeprefix("pulumi-embedded "))
        assert done.code == 0, done.output
        assert {each["id"] for each in bench.resources()} == set(bench.things())
        assert not bench.pending()
        done = bench.run(UP)
        assert done.code == 0, done.output
        assert bench.run(f"{UP} --refresh --expect-no-changes").code == 0
        assert len(bench.things()) == 3

    @pytest.mark.few(1)
    @pytest.mark.parametrize("write", [1, 2, 3])
    def test_a_full_disk_loses_nothing(self, bench: Bench, write: int) -> None:
        bench.declare(WANTED)
        state = bench.state_file.read_bytes() if write == 1 else None
        done = bench.run(UP, fault={"write": write, "point": "written", "does": "full"})
        assert done.code == 1 and "Traceback" not in done.output
        assert f"{bench.state_file} cannot be written: No space left on device" in done.output
        assert bench.state_file.read_bytes() == state or write > 1
        assert not list(bench.state_file.parent.glob("*.tmp"))
        self.goes_on(bench, done.output)

    @pytest.mark.full
    def test_where_nothing_can_be_written_the_state_is_printed(self, bench: Bench) -> None:
        bench.declare(WANTED)
        done = bench.run(UP, fault={"write": 2, "point": "written", "does": "full everywhere"})
        assert done.code == 1 and "Traceback" not in done.output
        assert "Nothing else can be written either" in done.output
        printed = next(line.strip() for line in done.output.splitlines() if line.strip().startswith('{"version":3'))
        file = bench.folder / "printed.json"
        file.write_text(printed)
        self.goes_on(bench, f"pulumi-embedded stack import --file {file}")

    def test_a_state_that_somebody_else_wrote_is_not_written_over(self, bench: Bench) -> None:
        bench.declare(WANTED)
        theirs = bench.state_file.read_text().replace('"version":3', '"version": 3')
        (bench.folder / "theirs").write_text(theirs)
        program = bench.project / "__main__.py"
        program.write_text(
            program.read_text() + f"import shutil; shutil.copyfile({str(bench.folder / 'theirs')!r}, "
            f"{str(bench.state_file)!r})\n"
        )
        done = bench.run(UP)
        assert done.code == 1
        assert f"something else has changed the state file {bench.state_file}" in done.output
        assert bench.state_file.read_text() == theirs
        program.write_text(program.read_text().rpartition("import shutil")[0])
        self.goes_on(bench, done.output)

    @pytest.mark.full
    def test_a_folder_that_is_gone_is_not_made_anew(self, bench: Bench) -> None:
        bench.declare(WANTED)
        program, folder = bench.project / "__main__.py", bench.project / ".state"
        program.write_text(program.read_text() + f"import shutil; shutil.rmtree({str(folder)!r})\n")
        done = bench.run(UP)
        assert done.code == 1 and "Traceback" not in done.output
        assert f"the backend's folder {folder} is gone" in done.output
        assert not folder.exists()
        program.write_text(program.read_text().rpartition("import shutil")[0])
        folder.mkdir()
        assert bench.run("stack init dev").code == 0
        self.goes_on(bench, done.output)

    def test_a_folder_that_cannot_be_written_is_an_error_before_anything_is_done(self, bench: Bench) -> None:
        shutil.rmtree(bench.project / ".state/.pulumi/locks")
        (bench.project / ".state/.pulumi/locks").write_text("no folder")
        assert "cannot be written: " in refused(bench, UP)
