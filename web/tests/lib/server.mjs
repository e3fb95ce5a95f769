// The real program, with a port and a data folder of its own.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { WebSocket } from "ws";
import { Accounts, Client } from "../../dist/hubbub.js";
import { until } from "./until.mjs";

const target = resolve(process.env.CARGO_TARGET_DIR ?? join(import.meta.dirname, "../../../target"));
const program = process.env.HUBBUB_BIN ?? join(target, "debug/hubbub");
const PASSWORD = "correct horse";

/** Ports that the system does not give to clients: who connects while the server is down must not get its port. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    const probe = createServer();
    const free = await new Promise((done) => {
      probe.once("error", () => done(false));
      probe.listen(port, "127.0.0.1", () => done(true));
    });
    if (free) {
      await new Promise((done) => probe.close(done));
      return port;
    }
  }
}

/** A socket as a browser's: that it could not connect is told by its close, and an error that nobody hears is none. */
const opened = (url) => new WebSocket(url).on("error", () => {});

export class Hubbub {
  #flags;
  #process;
  #folder = mkdtempSync(join(tmpdir(), "hubbub-page-"));

  static async start(...flags) {
    if (!existsSync(program)) throw new Error(`no server at ${program}: run \`cargo build\` first, or set HUBBUB_BIN`);
    const server = new Hubbub();
    server.#flags = flags;
    server.port = await freePort();
    await server.begin();
    return server;
  }

  get url() { return `http://127.0.0.1:${this.port}`; }

  get log() { return readFileSync(join(this.#folder, "log"), "utf8"); }

  async begin() {
    const log = createWriteStream(join(this.#folder, "log"), { flags: "a" });
    await once(log, "open");
    const flags = [`--data=${join(this.#folder, "data")}`, `--port=${this.port}`, ...this.#flags];
    // Settings of the surroundings are not the test's.
    this.#process = spawn(program, flags, { env: {}, stdio: ["ignore", log, log] });
    await until("the server is ready", async () => {
      if (this.#process.exitCode !== null) throw new Error(`it ended: ${this.log}`);
      return (await fetch(`${this.url}/readyz`)).ok;
    });
  }

  /** SIGKILL, or another signal, and waits for the end. */
  async end(signal = "SIGKILL") {
    if (this.#process.exitCode === null && this.#process.signalCode === null) {
      const ended = once(this.#process, "exit");
      this.#process.kill(signal);
      await ended;
    }
  }

  async stop() {
    await this.end();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Somebody with an account: their token, and their client. */
  async person(name, email = `${name.toLowerCase()}@example.org`) {
    const accounts = new Accounts(this.url);
    const { id } = await accounts.register({ name, email, password: PASSWORD });
    const token = await accounts.logIn({ email, password: PASSWORD });
    return { id, name, email, password: PASSWORD, token };
  }

  async client(person) {
    const client = new Client({ url: this.url, token: person.token, socket: opened });
    await client.connect();
    return client;
  }

  /** Ann's rooms "Here" and "There", Ann herself, and Bob's client, who is in both. */
  async twoRooms() {
    const person = await this.person("Ann");
    const ann = await this.client(person);
    const [here, there] = [await ann.create({ name: "Here" }), await ann.create({ name: "There" })];
    ann.close();
    const bob = await this.client(await this.person("Bob"));
    for (const { id } of [here, there]) await bob.join(id);
    return { person, bob, here, there };
  }
}

/** A picture: a PNG of one color, as a data URL. */
export const PNG = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAEElEQVR4nGPwCLwIRAwQCgAmlgWxYxnIbQAAAABJRU5ErkJggg==";

/** Many short messages, as fast as the server takes them. */
export async function fill(client, room, count, text = (n) => `message ${n}`) {
  let n = 0;
  const line = async () => {
    while (n < count) await client.request({ type: "send", room, text: text(++n) });
  };
  await Promise.all(Array.from({ length: 60 }, line));
}
