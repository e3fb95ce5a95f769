"""Holds rendered manifests to Kubernetes' schemas, where a field that they do not know is an error.

validate.py CRDS MANIFESTS...   fails with all that is wrong; CRDS defines the kinds that are not Kubernetes' own
"""

import sys
import tomllib

import jsonschema
import kubernetes_validate
import yaml

# The chart's least, and the newest that is known.
VERSIONS = ["1.30", "1.37"]


def strict(schema):
    """The schema with every object closed that names its fields."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


def kinds_of_others(path):
    with open(path) as file:
        for crd in yaml.safe_load_all(file):
            spec = crd["spec"]
            for version in spec["versions"]:
                of = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                yield of, strict(version["schema"]["openAPIV3Schema"])


def wrong_fields(manifest, others):
    other = others.get((manifest["apiVersion"], manifest["kind"]))
    for version in VERSIONS if other is None else [""]:
        try:
            if other is None:
                kubernetes_validate.validate(manifest, version, strict=True)
            else:
                jsonschema.validate(manifest, other)
        except jsonschema.ValidationError as error:
            where = ".".join(str(step) for step in error.absolute_path)
            yield f"{where}: {error.message} {version}".rstrip()
        except kubernetes_validate.SchemaNotFoundError as error:
            yield error.message


def seconds_to_end(manifest, settings):
    """What no schema knows: a pod's time to end is longer than its drain."""
    pod = manifest["spec"]["template"]["spec"]
    pause = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    window = int(settings.get("drain-window", "0s").removesuffix("s"))
    # After its window a drain may take 15 s.
    if pod["terminationGracePeriodSeconds"] <= pause + window + 15:
        yield f"is given {pod['terminationGracePeriodSeconds']} s to end; its drain alone may take {pause + window + 15} s"


def main(crds, *paths):
    others = dict(kinds_of_others(crds))
    wrong, seen = [], 0
    for path in paths:
        with open(path) as file:
            manifests = [manifest for manifest in yaml.safe_load_all(file) if manifest]
        files = {m["metadata"]["name"]: m["data"]["hubbub.toml"] for m in manifests if m["kind"] == "ConfigMap"}
        for manifest in manifests:
            seen += 1
            name = manifest["metadata"]["name"]
            found = list(wrong_fields(manifest, others))
            if manifest["kind"] in ("Deployment", "StatefulSet") and not found:
                found = list(seconds_to_end(manifest, tomllib.loads(files[name])))
            wrong += [f"{path}: {manifest['kind']} {name}: {what}" for what in found]
    if wrong or not seen:
        sys.exit("\n".join(wrong) or "there is nothing to check")
    print(f"{seen} manifests are as Kubernetes has them")


main(*sys.argv[1:])
