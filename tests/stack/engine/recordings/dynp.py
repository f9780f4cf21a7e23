"""A dynamic provider that keeps one small file per resource under store/."""
import json, os, time
from pulumi.dynamic import CheckFailure, CheckResult, CreateResult, DiffResult, ReadResult, Resource, ResourceProvider, UpdateResult
import pulumi

def _path(key): return os.path.join("store", key + ".json")
def _trip(what):
    if os.path.exists("store/fail-" + what): raise Exception(f"{what} failed as told")
    while os.path.exists("store/slow-" + what): time.sleep(0.02)

class StoreProvider(ResourceProvider):
    serialize_as_secret_always = False
    def check(self, olds, news):
        bad = [CheckFailure("value", "value must not start with bad")] if str(news.get("value")).startswith("bad") else []
        return CheckResult({**news, "size": len(news["value"]) if isinstance(news.get("value"), str) else None}, bad)
    def diff(self, id, olds, news):
        replaces = ["key"] if olds.get("key") != news.get("key") else []
        return DiffResult(changes=bool(replaces) or olds.get("value") != news.get("value"), replaces=replaces, delete_before_replace=False)
    def _write(self, props):
        os.makedirs("store", exist_ok=True)
        with open(_path(props["key"]), "w") as f: json.dump(props["value"], f)
        return {**props, "written": f"{props['key']}={props['value']}"}
    def create(self, props):
        _trip("create"); return CreateResult("store/" + props["key"], self._write(props))
    def update(self, id, olds, news):
        _trip("update"); return UpdateResult(self._write(news))
    def delete(self, id, props):
        _trip("delete")
        if os.path.exists(_path(props["key"])): os.unlink(_path(props["key"]))
    def read(self, id, props):
        key = id.split("/", 1)[1]
        if not os.path.exists(_path(key)): return ReadResult("", {})
        with open(_path(key)) as f: value = json.load(f)
        inputs = {"key": key, "value": value, "size": len(value)}
        return ReadResult(id, {**inputs, "written": f"{key}={value}"}, inputs)

class Store(Resource, name="Store"):
    key: pulumi.Output[str]
    value: pulumi.Output[str]
    written: pulumi.Output[str]
    def __init__(self, name, key, value, opts=None):
        super().__init__(StoreProvider(), name, {"key": key, "value": value, "size": None, "written": None}, opts)
