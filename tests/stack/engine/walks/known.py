"""Walks on which the two engines once differed, by the behaviour that they show."""

from __future__ import annotations

from typing import Any

__all__ = ["KNOWN"]

UP = "up --yes --skip-preview --parallel 1"
URN = "urn:pulumi:dev::walk::walk:index:Thing::"
GROUP = "urn:pulumi:dev::walk::walk:index:Group::"

Entry = dict[str, Any]


def thing(name: str, inputs: Entry | None = None, **options: Any) -> Entry:
    return {"name": name, "kind": "thing", "inputs": {"value": 1, **(inputs or {})}, "options": options}


def group(name: str, **options: Any) -> Entry:
    return {"name": name, "kind": "group", "options": options}


def provider(name: str, **inputs: Any) -> Entry:
    return {"name": name, "kind": "provider", "inputs": inputs}


def read(name: str, id_: str, **options: Any) -> Entry:
    return {"name": name, "kind": "read", "id": id_, "options": options}


def ref(name: str, of: str = "serial") -> Entry:
    return {"$ref": name, "of": of}


def secret(value: Any) -> Entry:
    return {"$secret": value}


def up(*resources: Entry, command: str = UP, **around: Any) -> Entry:
    """Return a step with a program. `around` has failing calls and changes from outside."""
    return {"program": {"resources": list(resources)}, "command": command, **around}


def then(command: str, **around: Any) -> Entry:
    """Return a step with the program of the step before."""
    return {"command": command, **around}


DESTROY = then("destroy --yes --skip-preview --parallel 1")
REFRESH = then("refresh --yes --skip-preview --parallel 1")

GO_ON = f"{UP} --continue-on-error"
FAILING = {"resources": [thing("d"), thing("e")], "fails": True}

SAVE = "preview --parallel 1 --save-plan plan.json"
KEEP = f"{UP} --plan plan.json"
PLANNED = (thing("a", {"tags": {"x": 1}, "list": [1, 2]}), group("g"), thing("b", {"of": ref("a")}, parent="g"))

_STEPS: dict[str, list[Entry]] = {
    # Update plans.
    "a-plan-of-a-new-stack": [
        up(*PLANNED, thing("s", {"token": secret("t")}), provider("p"), thing("c", provider="p"), command=SAVE),
        then(KEEP),
        then(KEEP),
        then(f"{SAVE} --show-secrets"),
        then("up --yes --parallel 1 --plan plan.json"),
    ],
    "a-plan-of-every-change": [
        up(
            *(thing("a"), thing("b", {"of": ref("a")}), thing("c", {"fixed": 1}), thing("d", {"of": ref("c")})),
            *(thing("e", {"fixed": 1}), thing("f", {"fixed": ref("e")}), thing("i"), thing("j", {"token": "t"})),
            *(group("g"), thing("h", parent="g")),
        ),
        up(
            *(thing("a", {"value": 2, "tags": {"x": 1}}), thing("b", {"of": ref("a")}, depends_on=["a"])),
            *(
                thing("c", {"fixed": 2}),
                thing("d", {"of": ref("c")}),
                thing("e", {"fixed": 2}, delete_before_replace=True),
            ),
            *(thing("f", {"fixed": ref("e")}), thing("j"), group("k", aliases=[{"name": "g"}])),
            *(thing("h", parent="k", protect=True, ignore_changes=["value"]), thing("m", import_="wild")),
            *(read("r", "there"), thing("n", {"of": ref("r")}, custom_timeouts={"create": "90s"})),
            command=SAVE,
            exists=[{"id": each, "inputs": {"value": 1, "auto": "auto-1"}} for each in ("wild", "there")],
        ),
        then(KEEP),
        then(SAVE),
        then(KEEP),
    ],
    "an-option-that-the-plan-does-not-have": [
        up(*PLANNED, command=SAVE),
        *(
            up(*PLANNED[:2], thing("b", {"of": ref("a")}, **{"parent": "g", **options}), command=KEEP)
            for options in (
                {"protect": True},
                {"delete_before_replace": False},
                {"ignore_changes": ["value", "of"]},
                {"aliases": [{"name": "x"}]},
                {"custom_timeouts": {"update": "1m30s"}},
            )
        ),
        up(*PLANNED, command=KEEP),
    ],
    "properties-that-the-plan-does-not-have": [
        up(thing("a", {"tags": {"x": 1}, "list": [1, 2], "fixed": True, "text": "t"}), thing("b", {"of": ref("a")})),
        up(
            thing("a", {"value": 2, "more": 1.5, "list": [1, 3], "fixed": True, "text": "u"}),
            thing("b", {"of": ref("a")}),
            command=SAVE,
        ),
        up(thing("a", {"list": [1, 3], "more": None, "text": "u"}), thing("b", {"of": ref("a")}), command=KEEP),
        up(
            thing("a", {"value": 3, "more": 2, "list": [1, 3], "new": {"y": [1, "z"]}, "text": "u"}),
            thing("b", {"of": ref("a")}),
            command=KEEP,
        ),
        up(
            thing("a", {"value": 2, "more": 1.5, "list": [1, 3], "fixed": True, "text": "u"}),
            thing("b", {"of": 1}),
            command=KEEP,
        ),
    ],
    "steps-that-the-plan-does-not-have": [
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), thing("d")),
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), thing("d"), command=SAVE),
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), thing("d"), thing("e"), command=KEEP),
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), command=KEEP),
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), thing("d"), command=f"{KEEP} --replace {URN}a"),
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), command=SAVE),
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), thing("d"), command=KEEP),
        up(thing("a"), thing("b"), command=KEEP),
        up(thing("a"), thing("b"), thing("c", {"fixed": 1}), command=KEEP),
        then(KEEP),
        up(thing("a"), thing("b"), thing("e"), command=SAVE),
        up(thing("a"), command=KEEP),
        up(thing("a"), thing("b"), command=KEEP),
    ],
    "outputs-that-the-plan-does-not-have": [
        {**up(), "program": {"resources": [thing("a"), {**group("g"), "outputs": {"x": 1}}], "exports": {"y": 1}}},
        then(SAVE),
        {
            **up(command=KEEP),
            "program": {"resources": [thing("a"), {**group("g"), "outputs": {"x": 2}}], "exports": {"y": 1}},
        },
    ],
    "a-plan-of-targets": [
        up(thing("a"), thing("b"), thing("c")),
        up(thing("a", {"value": 2}), thing("b", {"value": 2}), thing("d"), command=f"{SAVE} --target {URN}a"),
        then(f"{KEEP} --target {URN}a"),
        then(KEEP),
    ],
    "a-plan-of-targets-without-a-renamed-resource": [
        up(thing("a"), thing("b")),
        up(thing("a", {"value": 2}), thing("c", aliases=[{"name": "b"}]), command=f"{SAVE} --target {URN}a"),
        then(f"{KEEP} --target {URN}a"),
    ],
    "a-plan-of-a-secret-that-is-not-known": [
        up(thing("a")),
        up(thing("a"), thing("b", additional_secret_outputs=["serial"]), command=SAVE),
        then(KEEP),
    ],
    "an-output-of-an-unchanged-resource-becomes-secret": [
        up(thing("a")),
        up(thing("a", additional_secret_outputs=["echo"]), command=f"{UP} --json"),
    ],
    "a-stream-that-ends-before-it-begins": [
        up(thing("a")),
        then(f"refresh --yes --skip-preview --parallel 1 --json --target {URN}nobody"),
    ],
    "new-resources-that-are-left-out-in-a-stream": [
        up(thing("a")),
        up(thing("a"), thing("b"), group("g"), command=f"{UP} --json --exclude {URN}b --exclude {GROUP}g"),
        then(f"{UP} --json --target {URN}a"),
        then(f"preview --json --target {URN}a"),
    ],
    # One object never belongs to two resources.
    "alias-of-one-that-stays": [
        up(thing("a")),
        up(thing("a"), thing("b", aliases=[{"name": "a"}])),
        up(thing("a")),
    ],
    "alias-before-the-one-that-stays": [
        up(thing("a")),
        up(thing("b", aliases=[{"name": "a"}]), thing("a")),
        up(thing("a")),
    ],
    "two-resources-take-one-alias": [
        up(thing("a")),
        up(thing("b", aliases=[{"name": "a"}]), thing("c", aliases=[{"name": "a"}])),
        up(thing("b", aliases=[{"name": "a"}])),
    ],
    "an-alias-of-an-alias-is-none": [
        up(group("g"), thing("g-a", parent="g")),
        up(group("h", aliases=[{"name": "g"}]), thing("h-a", parent="h")),
        up(group("h", aliases=[{"name": "x"}]), thing("h-a", parent="h")),
    ],
    # The children of a parent inherit its options for deletes.
    "retain-on-delete-of-a-parent": [
        up(group("g", retain_on_delete=True), thing("a", parent="g"), thing("b", parent="g", retain_on_delete=False)),
        up(group("g", retain_on_delete=True)),
        DESTROY,
    ],
    "retain-on-delete-of-a-grandparent": [
        up(thing("p", retain_on_delete=True), group("g", parent="p"), thing("a", parent="g")),
        DESTROY,
    ],
    "deleted-with-of-a-parent": [
        up(thing("s"), group("g", deleted_with="s"), thing("a", parent="g"), thing("b", parent="a")),
        DESTROY,
    ],
    "protect-of-a-parent": [
        up(group("g", protect=True), thing("a", parent="g"), thing("b", parent="g", protect=False)),
        DESTROY,
    ],
    # A value that becomes secret is secret from then on.
    "an-input-becomes-secret": [
        up(thing("a", {"token": "s1"})),
        up(thing("a", {"token": secret("s1")})),
        up(thing("a", {"token": "s1"})),
    ],
    "an-output-becomes-secret": [
        up(thing("a", {"token": "s1"})),
        up(thing("a", {"token": "s1"}, additional_secret_outputs=["token", "serial"])),
    ],
    "a-nested-input-becomes-secret": [
        up(thing("a", {"tags": {"x": "s1"}})),
        up(thing("a", {"tags": {"x": secret("s1")}})),
    ],
    "the-plugin-gives-a-secret-back-plain": [
        up(thing("a", {"token": secret("s1"), "plain": True})),
        up(thing("a", {"token": secret("s2"), "plain": True})),
        REFRESH,
    ],
    "a-secret-with-a-failing-update": [
        up(thing("a", {"token": "s1"})),
        up(thing("a", {"token": secret("s2")}), failures={"half Update": ["a"]}),
        up(thing("a", {"token": secret("s2")})),
    ],
    "an-argument-of-a-provider-becomes-secret": [
        up(provider("p", token="s1"), thing("a", provider="p")),
        up(provider("p", token=secret("s1")), thing("a", provider="p")),
    ],
    "configuration-becomes-secret": [
        then("config set walk:token s1"),
        up(thing("a")),
        then("config set --secret walk:token s1"),
        up(thing("a")),
    ],
    "the-secret-of-an-id": [
        up(thing("a", additional_secret_outputs=["id"])),
        up(thing("a", additional_secret_outputs=["id"])),
    ],
    # The causes of replacements, and their order.
    **{
        f"replace-on-a-nested-path-{way}": [
            up(thing("a", {"diff": way, "tags": {"x": 1, "y": 1}}, replace_on_changes=["tags.x"])),
            up(thing("a", {"diff": way, "tags": {"x": 1, "y": 2}}, replace_on_changes=["tags.x"])),
            up(thing("a", {"diff": way, "tags": {"x": 2, "y": 2}}, replace_on_changes=["tags.x"])),
        ]
        for way in ("keys", "detailed", "unknown")
    },
    "a-replacement-by-a-kind-of-the-detailed-diff": [
        up(thing("a", {"diff": "detailed", "fixed": 1})),
        up(thing("a", {"diff": "detailed", "fixed": 2}), command="preview --json --parallel 1"),
        then(UP),
    ],
    "an-unknown-diff-deletes-first": [
        up(thing("a", {"diff": "unknown", "exclusive": True}, replace_on_changes=["value"])),
        up(thing("a", {"diff": "unknown", "exclusive": True, "value": 2}, replace_on_changes=["value"])),
        up(thing("a", {"diff": "unknown and replaces", "exclusive": True, "value": 2, "fixed": 1})),
    ],
    "the-detailed-diff-of-an-unknown-diff": [
        up(thing("a", {"diff": "unknown", "list": [1, 2], "tags": {"x": 1}})),
        up(thing("a", {"diff": "unknown", "list": [1, 3, 4], "tags": {"x": 2, "a b": 3}}), command="preview --json"),
        then(UP),
    ],
    "replaced-for-its-initialization": [
        up(thing("a", {"diff": "detailed"}), failures={"half Create": ["a"]}),
        up(thing("a", {"diff": "detailed", "value": 2}, replace_on_changes=["*"]), command="preview --json"),
        then(UP),
    ],
    # States of version 4.
    "replace-with": [
        up(thing("a"), thing("b", replace_with=["a"])),
        up(thing("a", {"fixed": 1}), thing("b", replace_with=["a"])),
        up(thing("a", {"fixed": 2}, delete_before_replace=True), thing("b", replace_with=["a"])),
        DESTROY,
    ],
    "tainted": [
        up(thing("a"), thing("b", {"of": ref("a")})),
        then("preview --json --parallel 1", state={"a": {"taint": True}}),
        then(UP),
        then(UP),
    ],
    # Behaviour.
    "a-read-fails": [
        up(thing("a"), thing("b"), thing("c")),
        then(
            "refresh --yes --skip-preview",
            failures={"Read": ["b"]},
            changed=[{"name": "a", "inputs": {"value": 7}}, {"name": "c"}],
        ),
        REFRESH,
        then("up --yes --skip-preview --refresh", failures={"Read": ["a"]}),
    ],
    "a-read-finds-half": [
        up(thing("a")),
        then("refresh --yes --skip-preview", failures={"half Read": ["a"]}),
        then(UP),
    ],
    "changes-that-cannot-be-ignored": [
        up(thing("a", {"list": [1]}, ignore_changes=["list[1]"])),
        up(thing("a", {"list": [2, 3]}, ignore_changes=["list[1]", "tags.x"])),
        up(thing("a", {"list": [2, 3], "tags": {"x": 1}}, ignore_changes=["list[0]", "tags.x"])),
    ],
    "what-was-to-be-replaced-is-no-longer-wanted": [
        up(thing("a"), thing("b")),
        up(thing("a", {"fixed": 1}, delete_before_replace=True), thing("b"), failures={"Create": ["a"]}),
        up(thing("b")),
    ],
    "an-alias-whose-replaced-object-stays": [
        up(thing("a")),
        up(thing("b", {"fixed": 1}, aliases=[{"name": "a"}]), failures={"Delete": ["a", "b"]}),
        up(thing("b", {"fixed": 1}, aliases=[{"name": "a"}])),
    ],
    "a-parent-is-renamed-and-a-child-is-no-target": [
        up(group("g"), thing("a", parent="g"), thing("b", parent="g")),
        up(group("h", aliases=[{"name": "g"}]), thing("a", {"value": 2}, parent="h"), thing("b", parent="h")),
    ],
    "flags-that-contradict": [
        up(thing("a"), command="up --yes --skip-preview --expect-no-changes"),
        then("destroy --yes --preview-only"),
        then("refresh --yes --preview-only"),
        then("refresh --skip-preview --preview-only"),
        then("preview --expect-no-changes"),
    ],
    "what-is-read": [
        up(read("r", "there"), exists=[{"id": "there", "inputs": {"value": 1}}]),
        then(UP),
        then(UP, changed=[{"name": "there", "inputs": {"value": 2}}], exists=[{"id": "there", "inputs": {"value": 2}}]),
        then("up --yes --skip-preview --expect-no-changes"),
        then(UP, failures={"half Read": ["r"]}),
        then(UP, failures={"Read": ["r"]}),
        DESTROY,
    ],
    "a-target-is-deleted": [
        up(thing("a"), thing("b", {"fixed_of": ref("a")}), thing("c", {"of": ref("a")}), thing("d", {"of": ref("b")})),
        then(f"destroy --yes --skip-preview --target {URN}a"),
        then(f"up --yes --skip-preview --target {URN}a"),
        then(f"destroy --yes --skip-preview --target-dependents --target {URN}b"),
        then(f"destroy --yes --skip-preview --target-dependents --target {URN}a"),
    ],
    "what-needs-what-was-left-out": [
        up(thing("b")),
        up(thing("a"), thing("b", {"of": ref("a")}), command=f"up --yes --skip-preview --target {URN}b"),
        up(thing("a"), thing("b", {"of": ref("a")}), command=f"preview --target {URN}b"),
        up(thing("a"), thing("c", {"of": ref("a")}), thing("b"), command=f"up --yes --skip-preview --target {URN}b"),
    ],
    "continue-on-error": [
        up(
            *(thing("a"), thing("b", {"of": ref("a")}), thing("c"), thing("d", {"of": ref("b")})),
            command=GO_ON,
            failures={"Create": ["a"]},
        ),
        then(f"{GO_ON} --json", failures={"Create": ["b"]}),
        then(GO_ON),
        up(
            *(thing("a", {"value": 2}), thing("b", {"of": ref("a"), "value": 2}), thing("c", {"value": 2})),
            command=GO_ON,
            failures={"half Update": ["a"]},
        ),
        up(thing("a", {"fixed": 1}), thing("c", {"fixed": 1}), command=GO_ON, failures={"Create": ["a"]}),
        then("destroy --yes --skip-preview --continue-on-error", failures={"Delete": ["b"]}),
        then("destroy --yes --skip-preview --json --continue-on-error", failures={"Delete": ["b"]}),
    ],
    "continue-on-error-until-another": [
        up(read("r", "there"), thing("a"), thing("b", depends_on=["r"]), command=GO_ON, failures={"Read": ["r"]}),
        up(thing("a", {"value": 2}), thing("c"), command=f"{GO_ON} --refresh", failures={"Read": ["a"]}),
        up(thing("d", import_="nobody"), thing("c"), thing("e", {"of": ref("d")}), command=GO_ON),
        {**up(thing("d"), thing("e"), command=GO_ON, failures={"Create": ["d"]}), "program": FAILING},
        up(thing("d"), group("g", depends_on=["d"]), thing("f"), command=GO_ON, failures={"Create": ["d"]}),
    ],
    "a-preview-that-counts-nothing": [
        up(thing("a")),
        then(f"preview --json --parallel 1 --refresh --replace {URN}nobody"),
    ],
    "a-program-raises-a-run-error": [
        {**up(command="preview --json --parallel 1"), "program": FAILING},
        then(f"{UP} --json"),
        then(UP),
    ],
    "excluded-resources-stay-as-they-are": [
        up(*(thing("a"), thing("b", {"of": ref("a")}), thing("c"), thing("d", {"of": ref("c")}), thing("e"))),
        up(
            *(thing("a", {"value": 2}), thing("b", {"of": ref("a"), "value": 2}), thing("c", {"value": 2}), thing("f")),
            command=f"{UP} --exclude {URN}a --exclude {URN}d --exclude {URN}f",
        ),
        up(
            *(thing("a", {"value": 3}), thing("b", {"of": ref("a"), "value": 3}), thing("c", {"value": 3})),
            command=f"{UP} --exclude-dependents --exclude {URN}a",
        ),
        then(f"refresh --yes --skip-preview -x {URN}a", changed=[{"name": "a"}, {"name": "c", "inputs": {"value": 7}}]),
        then(f"refresh --yes --skip-preview --exclude-dependents -x {URN}a", changed=[{"name": "b"}]),
        then(f"{UP} --refresh --exclude {URN}a"),
        then(f"destroy --yes --skip-preview -x {URN}b"),
        then("destroy --yes --skip-preview -x urn:**nothing"),
    ],
    "an-alias-conflict-outside-the-targets": [
        up(thing("a"), thing("b"), thing("c")),
        up(
            *(thing("a", {"value": 2}), thing("b"), thing("d", aliases=[{"name": "b"}]), thing("c")),
            command=f"{UP} --target {URN}a",
        ),
        then(f"preview --parallel 1 --exclude {URN}d"),
        up(thing("a"), thing("b"), thing("c")),
    ],
    "an-import-outside-the-targets": [
        up(thing("a"), thing("b"), exists=[{"id": "wild", "inputs": {"value": 1, "auto": "auto-1"}}]),
        up(thing("a", import_="wild"), thing("b", {"value": 2}), command=f"preview --json --target {URN}b"),
        then(f"{SAVE} --exclude {URN}a"),
        then(f"{UP} --target {URN}b"),
        then(UP),
    ],
    "deleted-ahead-outside-the-targets": [
        up(
            *(thing("a", delete_before_replace=True), thing("b", replace_with=["a"], protect=False)),
            *(thing("c", {"of": ref("a")}, replace_with=["b"]), thing("d"), read("r", "there")),
            exists=[{"id": "there", "inputs": {"value": 1}}],
        ),
        up(
            *(thing("a", delete_before_replace=True), thing("b", {"value": 2}, replace_with=["a"])),
            *(thing("c", {"of": ref("a"), "value": 2}, replace_with=["b"]), thing("d", {"value": 2}), thing("r")),
            command=f"preview --parallel 1 --target {URN}d --target-replace {URN}a",
        ),
        then(f"{UP} --target {URN}d --target-replace {URN}a"),
        then(UP),
        then(f"{UP} --exclude {URN}b --replace {URN}a"),
        then(
            "refresh --preview-only --parallel 1 --expect-no-changes", changed=[{"name": "a", "inputs": {"value": 7}}]
        ),
    ],
    "a-protected-resource-needs-the-new-object": [
        up(thing("a"), thing("b", deleted_with="a", protect=True), thing("c")),
        then(
            f"{UP} --replace {URN}a",
            program={"resources": [thing("a"), thing("b", deleted_with="a", protect=True), thing("c"), thing("d")]},
            failures={"Create": ["d"]},
        ),
        DESTROY,
        then("state unprotect --all --yes"),
        DESTROY,
    ],
    "a-protected-resource-needs-a-component": [
        up(group("g"), thing("a", parent="g"), thing("b", depends_on=["g"], protect=True)),
        DESTROY,
    ],
    "what-is-known-after-a-failure": [
        up(thing("a"), thing("b"), exists=[{"id": "there", "inputs": {"value": 1}}]),
        then("refresh --yes --skip-preview --parallel 1 --json", failures={"Read": ["a"]}),
        then(f"{UP} --json --refresh", failures={"Read": ["a"]}),
        then("refresh --yes --skip-preview --parallel 1 --json", failures={"Diff": ["a"]}),
        up(thing("a"), thing("b"), read("r", "there"), command=f"{UP} --json", failures={"Read": ["r"]}),
        up(thing("a"), thing("b"), thing("i", import_="there"), command=f"{UP} --json", failures={"Read": ["i"]}),
        then(f"{UP} --json", failures={"Check": ["i"]}),
        then(f"{UP} --json", failures={"Diff": ["i"]}),
        up(thing("a"), thing("b"), thing("n"), command=f"{UP} --json", failures={"Create": ["n"]}),
        up(thing("a", {"value": 2}), thing("b"), command=f"{UP} --json", failures={"Update": ["a"]}),
        then(f"{UP} --json", failures={"half Update": ["a"]}),
        up(thing("b"), command=f"{UP} --json", failures={"Delete": ["a"]}),
        then(f"{UP} --json"),
    ],
    "exclude-what-is-not-there": [
        up(thing("a"), command=f"{UP} --exclude {URN}nobody"),
        then(f"{UP} --exclude {URN}nobody --refresh"),
        then(f"preview -x {URN}a --target {URN}a"),
        then(f"refresh --yes -x {URN}nobody"),
        then(f"destroy --yes -x {URN}nobody"),
    ],
    "timeouts": [
        up(thing("a", custom_timeouts={"create": "90s", "update": "1m30s", "delete": "1.5s"})),
        up(thing("a", {"value": 2}, custom_timeouts={"create": "90s", "update": "1m30s", "delete": "1.5s"})),
        DESTROY,
    ],
}
KNOWN: dict[str, dict[str, Any]] = {name: {"steps": steps} for name, steps in _STEPS.items()}
KNOWN["a-plugin-that-shook-hands-previews"] = {
    "provider": {"previews": False, "secrets": False},
    "steps": [
        up(thing("a", {"token": secret("s1")}), command="preview --json"),
        then(UP),
        up(thing("a", {"token": secret("s1"), "value": 2}), command="preview --json"),
    ],
}
