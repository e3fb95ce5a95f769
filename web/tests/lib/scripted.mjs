// A server whose every word the test decides, on a real socket; and things to wait for without sleeping.
import { once } from "node:events";
import { WebSocket, WebSocketServer } from "ws";
import { Client } from "../../dist/hubbub.js";

const IN_TIME = 10_000;

/** What is added comes out in order; `next` waits for it, and fails when it does not come. */
export class Queue {
  #items = [];
  #takers = [];

  add(item) {
    const taker = this.#takers.shift();
    if (taker) taker(item);
    else this.#items.push(item);
  }

  next(what = "the next item") {
    if (this.#items.length > 0) return Promise.resolve(this.#items.shift());
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`not in time: ${what}`)), IN_TIME);
      this.#takers.push((item) => (clearTimeout(timer), resolve(item)));
    });
  }

  get length() { return this.#items.length; }
}

/** One accepted connection. */
class Peer {
  frames = new Queue();
  closed;

  constructor(socket, request) {
    this.socket = socket;
    this.url = request.url;
    this.closed = once(socket, "close");
    socket.on("message", (data) => this.frames.add(JSON.parse(data)));
  }

  say(frame) { this.socket.send(JSON.stringify(frame)); }

  /** The next request, which must be of this type. */
  async hear(type) {
    const frame = await this.frames.next(type);
    if (frame.type !== type) throw new Error(`heard ${JSON.stringify(frame)}, not ${type}`);
    return frame;
  }

  async welcome(rooms = [], heartbeat = 30) {
    const hello = await this.hear("hello");
    this.greet(hello, rooms, heartbeat);
    return hello;
  }

  /** Answers a hello. */
  greet(hello, rooms = [], heartbeat = 30) {
    const user = { id: "ann", name: "Ann", roles: ["user"] };
    this.say({ type: "welcome", ref: hello.ref, user, rooms, log: "1".repeat(32), limits: { text_chars: 4096 }, heartbeat });
  }

  entry(room, seq, more = {}) {
    const user = { id: "bob", name: "Bob" };
    this.say({ type: "message", room, seq, user, kind: "text", text: `${seq}`, at: seq, ...more });
  }

  drop() { this.socket.terminate(); }
}

export class Scripted {
  peers = new Queue();
  #clients = [];

  static async start() {
    const server = new Scripted();
    server.sockets = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    server.sockets.on("connection", (socket, request) => server.peers.add(new Peer(socket, request)));
    await once(server.sockets, "listening");
    server.url = `http://127.0.0.1:${server.sockets.address().port}`;
    return server;
  }

  /** A client of it that comes back at once; what it tells is in `told`. */
  client(options = {}) {
    const socket = (url) => new WebSocket(url);
    const client = new Client({ url: this.url, token: "secret", backoff: () => 0, socket, ...options });
    this.#clients.push(client);
    client.told = new Queue();
    for (const type of ["entry", "behind", "reset", "bye", "token", "refused", "typing", "presence", "room"]) {
      client.on(type, (event) => client.told.add({ event: type, ...event, message: event.message }));
    }
    client.states = new Queue();
    client.on("state", (state) => client.states.add(state));
    return client;
  }

  /** A client that was let in, and its connection. */
  async connected(options = {}, rooms = []) {
    const client = this.client(options);
    const welcome = client.connect();
    const peer = await this.peers.next("a connection");
    const hello = await peer.welcome(rooms);
    await welcome;
    return { client, peer, hello };
  }

  stop() {
    // Of a test that failed: they would come back for ever.
    for (const client of this.#clients) client.close();
    for (const socket of this.sockets.clients) socket.terminate();
    this.sockets.close();
  }
}
