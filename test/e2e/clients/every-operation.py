"""Usage: every-operation.py BASE_URL CA_FILE, the token in PODS_TOKEN, the calls (every-operation.ts) as JSON on stdin.

Makes the calls through tapipy, and prints a line of JSON for each; at last the operations that were not called."""

import json
import os
import sys
import time

from tapipy import errors
from tapipy.tapis import Operation, Tapis

base_url, ca_file = sys.argv[1:3]
client = Tapis(base_url=base_url, jwt=os.environ["PODS_TOKEN"], verify=ca_file)
operations = {name for name, value in vars(client.pods).items() if isinstance(value, Operation)}

FORM_FIELDS = {"upload_to_pod": ["dest_path"], "upload_to_jupyter": ["path"]}


def arguments_of(call):
    arguments = dict(call.get("params", {}))
    _, body = call.get("body", ["", {}])
    # tapipy takes the fields of a body one by one, and a list as a whole.
    arguments.update(body if isinstance(body, dict) else {"request_body": body})
    if "file" in call:
        arguments["file"] = call["file"].encode()
    for field in FORM_FIELDS.get(call["operation"], ()):
        # tapipy sends each field of a form as a file unless it is told that there is no file name.
        arguments[field] = (None, arguments[field])
    return arguments


def outcome_of(operation, arguments):
    try:
        result = getattr(client.pods, operation)(**arguments)
    except errors.BaseTapyException as error:
        status = error.response.status_code
        return "501" if status == 501 else f"{status}: {error.message}"
    return result.decode() if isinstance(result, bytes) and len(result) < 10 else "success"


def wait_for(pod_id, status):
    for _ in range(600):
        if client.pods.get_pod(pod_id=pod_id).status == status:
            return
        time.sleep(0.1)
    raise SystemExit(f"not {status}")


for call in json.load(sys.stdin):
    name = call["operation"]
    if name not in operations:
        continue
    operations.discard(name)
    if "when" in call:
        wait_for(call.get("params", {}).get("pod_id", "everypod"), call["when"])
    print(json.dumps([name, outcome_of(name, arguments_of(call))]), flush=True)
print(json.dumps(["not called", sorted(operations)]))
