// Makes `dist/` from `sdk/` and `page/`: `npm run build`. With `--check` it writes nothing and fails if `dist/` is stale.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { constants, gunzipSync, gzipSync } from "node:zlib";
import { build } from "esbuild";

const root = dirname(fileURLToPath(import.meta.url));
const dist = join(root, "dist");
const KIB = 1024;
/** Gzipped: what a first visit loads, and the SDK alone. */
const PAGE_MAX = 60 * KIB;
const SDK_MAX = 8 * KIB;

const common = {
  absWorkingDir: root, bundle: true, format: "esm", minify: true, target: "es2022", charset: "utf8", legalComments: "none", write: false,
};

async function bundled(entry, options = {}) {
  const result = await build({ ...common, entryPoints: [entry], ...options });
  return result.outputFiles[0].contents;
}

/** The page uses the very SDK that is served to others. */
const sdkApart = {
  name: "sdk-apart",
  setup: (build) => build.onResolve({ filter: /\/sdk\/index\.ts$/ }, () => ({ path: "./hubbub.js", external: true })),
};

function types() {
  const out = join(root, "node_modules/.cache/types");
  rmSync(out, { recursive: true, force: true });
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const flags = ["-p", root, "--noEmit", "false", "--emitDeclarationOnly", "--declaration", "--outDir", out];
  execFileSync(process.execPath, [tsc, ...flags], { stdio: "inherit" });
  const names = readdirSync(join(out, "sdk")).sort();
  return names.map((name) => [`types/${name}`, readFileSync(join(out, "sdk", name))]);
}

/** All that `dist/` is made from, by one hash: who has no Node can still tell that it is stale (`gateway/src/http/page.rs`). */
function sources() {
  const hash = createHash("sha256");
  for (const folder of ["page", "sdk"]) {
    for (const name of readdirSync(join(root, folder)).sort()) {
      hash.update(`${folder}/${name}\n`).update(readFileSync(join(root, folder, name))).update("\n");
    }
  }
  return Buffer.from(`${hash.digest("hex")}\n`);
}

const served = new Map([
  ["index.html", readFileSync(join(root, "page/index.html"))],
  ["status.html", readFileSync(join(root, "page/status.html"))],
  ["app.css", await bundled("page/app.css")],
  ["status.css", await bundled("page/status.css")],
  ["hubbub.js", await bundled("sdk/index.ts")],
  ["app.js", await bundled("page/main.ts", { plugins: [sdkApart] })],
  ["status.js", await bundled("page/status.ts")],
]);
const files = new Map(served);
const sizes = {};
for (const [name, bytes] of served) {
  const packed = gzipSync(bytes, { level: constants.Z_BEST_COMPRESSION });
  files.set(`${name}.gz`, packed);
  sizes[name] = packed.length;
}
for (const [name, bytes] of types()) files.set(name, bytes);
files.set("SOURCES", sources());

const all = Object.values(sizes).reduce((sum, size) => sum + size, 0);
for (const [name, size] of Object.entries(sizes)) console.log(`${name.padEnd(12)} ${(size / KIB).toFixed(1)} KiB gzipped`);
console.log(`${"in all".padEnd(12)} ${(all / KIB).toFixed(1)} KiB of ${PAGE_MAX / KIB}`);
if (all > PAGE_MAX || sizes["hubbub.js"] > SDK_MAX) {
  console.error(`too large: ${PAGE_MAX / KIB} KiB in all, ${SDK_MAX / KIB} KiB for hubbub.js`);
  process.exit(1);
}

if (process.argv.includes("--check")) {
  // What another zlib packs may differ in its bytes, never in what it unpacks to.
  const same = (name, bytes) => {
    const path = join(dist, name);
    if (!existsSync(path)) return false;
    const there = readFileSync(path);
    return name.endsWith(".gz") ? gunzipSync(there).equals(gunzipSync(bytes)) : there.equals(Buffer.from(bytes));
  };
  const stale = [...files].filter(([name, bytes]) => !same(name, bytes)).map(([name]) => name);
  if (stale.length > 0) {
    console.error(`stale: ${stale.join(", ")}; run \`npm run build\` in web/ and commit dist/`);
    process.exit(1);
  }
  console.log("dist/ is what the sources make");
} else {
  rmSync(dist, { recursive: true, force: true });
  for (const [name, bytes] of files) {
    mkdirSync(dirname(join(dist, name)), { recursive: true });
    writeFileSync(join(dist, name), bytes);
  }
}
