// A module of the page by itself: bundled as the page is, and imported.
import { join } from "node:path";
import { build } from "esbuild";

export async function module(name) {
  const entry = join(import.meta.dirname, "../../page", name);
  const { outputFiles } = await build({ entryPoints: [entry], bundle: true, format: "esm", write: false, target: "es2022" });
  return import(`data:text/javascript;base64,${Buffer.from(outputFiles[0].contents).toString("base64")}`);
}
