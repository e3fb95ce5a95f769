"""What the program is made of, as CycloneDX 1.5: each crate that is linked into it, with version, licence and checksum."""

import json
import subprocess
import tomllib


def cargo(*told):
    return subprocess.run(["cargo", *told], check=True, capture_output=True, text=True).stdout


def main():
    # Those of a build for service: neither tests' nor other systems'.
    tree = cargo("tree", "--locked", "-p", "hubbub", "--edges", "normal", "--prefix", "none", "--format", "{p}|{l}")
    with open("Cargo.lock", "rb") as file:
        sums = {(one["name"], one["version"]): one.get("checksum") for one in tomllib.load(file)["package"]}
    linked = {}
    for line in tree.splitlines():
        crate, licence = line.removesuffix(" (*)").split("|")
        name, version = crate.split()[:2]
        linked[name, version.removeprefix("v")] = licence.removesuffix(" (*)")
    components = []
    for (name, version), licence in sorted(linked.items()):
        purl = f"pkg:cargo/{name}@{version}"
        component = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
        if licence:
            component["licenses"] = [{"expression": licence.replace("/", " OR ")}]
        if sums.get((name, version)):
            component["hashes"] = [{"alg": "SHA-256", "content": sums[name, version]}]
        components.append(component)
    own = next(one for one in components if one["name"] == "hubbub")
    components.remove(own)
    bom = {"bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "metadata": {"component": own | {"type": "application"}}}
    print(json.dumps(bom | {"components": components}, indent=1))


main()
