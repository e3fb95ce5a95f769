"""Asks an API server of Kubernetes whether it would take manifests: dryRun=All, fieldValidation=Strict.

ask_server.py ADDRESS TOKEN CRDS MANIFESTS...   CRDS are made first, for good; fails with all that is refused
"""

import json
import ssl
import sys
import time
import urllib.error
import urllib.request

import yaml

NAMESPACE = "chat"


class Server:
    def __init__(self, address, token):
        self.address, self.token = address, token
        # The server that was just started on the loopback, with a certificate that it made itself.
        self.tls = ssl._create_unverified_context()
        self.kinds = {}

    def ask(self, path, body=None):
        request = urllib.request.Request(self.address + path, method="POST" if body else "GET")
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, json.dumps(body).encode() if body else None, 10, context=self.tls) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def wait(self, what, seconds=60):
        """Until it answers a path with 200."""
        until = time.monotonic() + seconds
        while True:
            try:
                if self.ask(what)[0] == 200:
                    return
            except OSError:
                pass
            if time.monotonic() > until:
                sys.exit(f"{what} was not there within {seconds} s")
            time.sleep(0.2)

    def make(self, manifest, query=""):
        group = manifest["apiVersion"]
        base = f"/apis/{group}" if "/" in group else f"/api/{group}"
        if base not in self.kinds:
            resources = json.loads(self.ask(base)[1]).get("resources", [])
            self.kinds[base] = {one["kind"]: one for one in resources if "/" not in one["name"]}
        resource = self.kinds[base].get(manifest["kind"])
        if resource is None:
            return f"the server has no {manifest['kind']} of {group}"
        scope = f"/namespaces/{NAMESPACE}" if resource["namespaced"] else ""
        status, answer = self.ask(f"{base}{scope}/{resource['name']}?fieldValidation=Strict{query}", manifest)
        return None if status in (200, 201) else json.loads(answer)["message"]


def read(path):
    with open(path) as file:
        return [manifest for manifest in yaml.safe_load_all(file) if manifest]


def main(address, token, crds, *paths):
    server = Server(address, token)
    server.wait("/readyz")
    wrong = [server.make({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})]
    for crd in read(crds):
        wrong.append(server.make(crd))
        version = crd["spec"]["versions"][0]["name"]
        server.wait(f"/apis/{crd['spec']['group']}/{version}/{crd['metadata']['name'].split('.')[0]}")
    for path in paths:
        manifests = read(path)
        for manifest in manifests:
            refused = server.make(manifest, "&dryRun=All")
            wrong.append(refused and f"{path}: {manifest['kind']} {manifest['metadata']['name']}: {refused}")
            if manifest.get("spec"):
                spec = manifest["spec"] | {"replicaz": 2}
                refused = server.make(manifest | {"spec": spec}, "&dryRun=All")
                if refused is None or 'unknown field "spec.replicaz"' not in refused:
                    wrong.append(f"{path}: {manifest['kind']} with spec.replicaz is not refused for that: {refused}")
        print(f"{path.rsplit('/', 1)[-1]}: {len(manifests)} manifests asked, each with a spec once more with a wrong field")
    wrong = [one for one in wrong if one]
    if wrong:
        sys.exit("\n".join(wrong))
    print("the API server takes the manifests, and refuses those with a wrong field")


main(*sys.argv[1:])
