"""Usage: tapis-client.py BASE_URL CA_FILE, the token in PODS_TOKEN, with tapipy on PYTHONPATH.

One life of a pod through tapipy, constructed from the base URL and a token alone. Prints a line of JSON for each call."""

import json
import os
import sys
import time

from tapipy.tapis import Tapis

base_url, ca_file = sys.argv[1:3]
client = Tapis(base_url=base_url, jwt=os.environ["PODS_TOKEN"], verify=ca_file)
print(json.dumps(["tenant", client.tenant_id]))
POD = {"pod_id": "viapython"}


def call(operation, **arguments):
    try:
        result = getattr(client.pods, operation)(**arguments)
        print(json.dumps([operation, type(result).__name__]))
        return result
    except Exception as error:  # each has a type of its own
        print(json.dumps([operation, type(error).__name__, str(error)]))
        return None


def wait_for(status):
    for _ in range(400):
        if client.pods.get_pod(**POD).status == status:
            return
        time.sleep(0.05)
    raise SystemExit(f"not {status}")


call("create_pod", **POD, image="podgate/hello", description="by tapipy")
wait_for("AVAILABLE")
call("list_pods")
for name in ["get_pod", "get_derived_pod", "get_pod_logs", "get_pod_permissions"]:
    call(name, **POD)
call("update_pod", **POD, description="changed")
call("set_pod_permission", **POD, user="bob", level="READ")
call("delete_pod_permission", **POD, user="bob")
call("stop_pod", **POD)
wait_for("STOPPED")
call("start_pod", **POD)
wait_for("AVAILABLE")
call("restart_pod", **POD)
call("get_pod_credentials", **POD)
call("delete_pod", **POD)
call("get_pod", **POD)
