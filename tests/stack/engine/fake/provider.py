# ruff: noqa: N802 - the methods' names are the protocol's
"""The provider's process: its objects are in its memory, and it ends when its standard input is closed.

A change of an input whose name begins with `fixed` replaces the object. Invoke is for the tests.
"""

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import any_pb2, empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc, status_pb2


def struct(values):
    message = struct_pb2.Struct()
    message.update(values)
    return message


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    def __init__(self):
        self.lock = threading.Lock()
        self.number = 0
        self.reset({})

    # Methods of a provider

    def Handshake(self, request, context):
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, accept_resources=True)

    def CheckConfig(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request, context):
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request, context):
        return provider_pb2.ConfigureResponse(acceptSecrets=True, acceptResources=True, supportsPreview=True)

    def Check(self, request, context):
        return provider_pb2.CheckResponse(inputs=request.news)

    def Diff(self, request, context):
        olds, news = request.old_inputs.fields, request.news.fields
        changed = sorted(key for key in olds.keys() | news.keys() if olds.get(key) != news.get(key))
        kind = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        replaces = [key for key in changed if key.startswith("fixed")]
        return provider_pb2.DiffResponse(changes=kind, replaces=replaces, diffs=changed)

    def Create(self, request, context):
        if request.preview:
            return provider_pb2.CreateResponse(properties=request.properties)
        inputs = json_format.MessageToDict(request.properties)
        with self.lock:
            self.number += 1
            id_ = f"object-{self.number}"
            self.done("create", request.urn, id_, inputs, context)
            self.objects[id_] = inputs
            if inputs["key"] in self.failures["half"]:
                self.half_done(id_, request.properties, context)
        return provider_pb2.CreateResponse(id=id_, properties=request.properties)

    def Update(self, request, context):
        if not request.preview:
            inputs = json_format.MessageToDict(request.news)
            with self.lock:
                self.done("update", request.urn, request.id, inputs, context)
                self.objects[request.id] = inputs
        return provider_pb2.UpdateResponse(properties=request.news)

    def Delete(self, request, context):
        with self.lock:
            self.done("delete", request.urn, request.id, self.objects.get(request.id, {}), context)
            del self.objects[request.id]
        return empty_pb2.Empty()

    def Read(self, request, context):
        with self.lock:
            inputs = self.objects.get(request.id)
        if inputs is None:
            return provider_pb2.ReadResponse()
        return provider_pb2.ReadResponse(id=request.id, inputs=struct(inputs), properties=struct(inputs))

    def done(self, method, urn, id_, inputs, context):
        """Record the call. Abort it if it must fail, or if there is no such object."""
        failing = inputs.get("key") in self.failures[method]
        call = {"method": method, "urn": urn, "id": id_, "inputs": inputs, "failed": failing}
        self.calls.append(call)
        if method != "create" and id_ not in self.objects:
            context.abort(grpc.StatusCode.NOT_FOUND, f"there is no {id_} to {method}")
        if failing:
            context.abort(grpc.StatusCode.UNKNOWN, f"told to fail this {method}")

    @staticmethod
    def half_done(id_, properties, context):
        detail = any_pb2.Any()
        reasons = ["told to do half of this create"]
        detail.Pack(
            provider_pb2.ErrorResourceInitFailed(id=id_, properties=properties, inputs=properties, reasons=reasons)
        )
        status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reasons[0], details=[detail])
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(grpc.StatusCode.UNKNOWN, reasons[0])

    # Requests of the tests

    def Invoke(self, request, context):
        act = getattr(self, request.tok.rpartition(":")[2])
        with self.lock:
            answer = act(json_format.MessageToDict(request.args))
        response = provider_pb2.InvokeResponse()
        getattr(response, "return").update(answer or {})
        return response

    def reset(self, arguments):
        self.objects, self.calls = {}, []
        self.fail({})

    def fail(self, keys):
        self.failures = {method: keys.get(method, []) for method in ("create", "update", "delete", "half")}

    def lose(self, arguments):
        del self.objects[arguments["id"]]

    def all_objects(self, arguments):
        return self.objects

    def all_calls(self, arguments):
        calls, self.calls = self.calls, []
        return {"calls": calls}


def main():
    server = grpc.server(ThreadPoolExecutor(64))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None)


main()
