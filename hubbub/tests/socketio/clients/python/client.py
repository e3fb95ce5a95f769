"""The Socket.IO client for Python in the hands of a test: does what it is told by lines of JSON, says what happens in the same
way, as client.js beside it does. It speaks the newer generation only.

SOCKETIO_URL        the server's address with the namespace as its path
SOCKETIO_OPTIONS    transports, and query or auth with the token, JSON
"""

import json
import os
import sys
import threading
from urllib.parse import urlencode, urlsplit

import socketio

URL, OPTIONS = urlsplit(os.environ["SOCKETIO_URL"]), json.loads(os.environ["SOCKETIO_OPTIONS"])
NAMESPACE, LOCK = URL.path, threading.Lock()
TOLD = ("authentication", "chatroom", "join", "leave", "message", "writing", "status", "behind", "reset", "connect")


def say(what):
    with LOCK:
        print(json.dumps(what), flush=True)


client = socketio.Client(reconnection=False)
for name in TOLD:
    client.on(name, lambda *args, name=name: say({"event": name, "args": args}), namespace=NAMESPACE)
client.on("disconnect", lambda reason: say({"event": "disconnect", "args": [reason]}), namespace=NAMESPACE)
client.connect(
    f"{URL.scheme}://{URL.netloc}?{urlencode(OPTIONS.get('query', {}))}", auth=OPTIONS.get("auth"),
    transports=OPTIONS["transports"], namespaces=[NAMESPACE], wait=False)
say({"transport": client.transport()})

for line in sys.stdin:
    told = json.loads(line)
    if told.get("close"):
        client.disconnect()
        continue
    if told.get("binary"):
        told["args"][-1]["image"] = b"\x01\x02\x03"
    client.emit(
        told["event"], tuple(told["args"]), namespace=NAMESPACE,
        callback=lambda *answer, call=told["call"]: say({"called": call, "args": answer}))
os._exit(0)
