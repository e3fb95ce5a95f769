import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { backoff } from "../../dist/hubbub.js";
import { Scripted } from "../lib/scripted.mjs";

let server;
before(async () => { server = await Scripted.start(); });
after(() => server.stop());

const LOBBY = [{ id: "lobby", name: "Lobby", topic: "", head: 4 }];

test("the token is in hello, and not in the address", async () => {
  const { client, peer, hello } = await server.connected();
  assert.equal(hello.token, "secret");
  assert.equal(peer.url, "/v1/ws");
  assert.equal(client.welcome.user.name, "Ann");
  client.close();
  await peer.closed;
  assert.deepEqual(client.state, { is: "closed", code: "closed", reason: "closed" });
});

test("after a loss it resumes from the last seq that was seen, and hears each entry once", async () => {
  const { client, peer } = await server.connected({}, LOBBY);
  peer.entry("lobby", 5);
  peer.entry("lobby", 6);
  assert.equal((await client.told.next()).seq, 5);
  assert.equal((await client.told.next()).seq, 6);
  peer.drop();
  const again = await server.peers.next();
  const hello = await again.welcome([{ ...LOBBY[0], head: 8 }]);
  assert.deepEqual(hello.rooms, { lobby: 6 });
  assert.equal(hello.log, client.welcome.log, "and from which log it saw them");
  assert.ok(hello.log);
  for (const seq of [6, 7, 7, 8]) again.entry("lobby", seq);
  assert.deepEqual([(await client.told.next()).seq, (await client.told.next()).seq], [7, 8]);
  assert.deepEqual(client.positions, { lobby: 8 });
  client.close();
});

test("a send is repeated with its key and its place until it is answered", async () => {
  const { client, peer } = await server.connected({}, LOBBY);
  const sent = client.send("lobby", { text: "Hello" });
  const first = await peer.hear("send");
  assert.equal(first.after, 4);
  assert.match(first.key, /^[0-9a-f]{32}$/);
  peer.entry("lobby", 5);
  await client.told.next();
  peer.drop();
  const again = await server.peers.next();
  await again.welcome(LOBBY);
  const second = await again.hear("send");
  assert.deepEqual({ ...second, ref: 0 }, { ...first, ref: 0 });
  again.say({ type: "ok", ref: second.ref, seq: 5, at: 9, durability: "disk" });
  assert.equal((await sent).seq, 5);
  client.close();
});

test("what is sent without a connection goes out when there is one, in the order of the calls", async () => {
  const client = server.client();
  const connecting = client.connect();
  const texts = ["one", "two", "three"];
  const sent = texts.map((text) => client.send("lobby", { text }));
  const peer = await server.peers.next();
  await peer.welcome(LOBBY);
  await connecting;
  for (const text of texts) {
    const send = await peer.hear("send");
    assert.equal(send.text, text);
    // The next one waits for the answer: nothing overtakes.
    assert.equal(peer.frames.length, 0);
    peer.say({ type: "ok", ref: send.ref, seq: 5, at: 5 });
  }
  await Promise.all(sent);
  client.close();
});

test("a room does not wait for another one", async () => {
  const { client, peer } = await server.connected();
  const [slow, quick] = [client.send("a", { text: "x" }), client.send("b", { text: "y" })];
  const first = await peer.hear("send");
  const second = await peer.hear("send");
  peer.say({ type: "ok", ref: second.ref, seq: 1, at: 1 });
  await quick;
  peer.say({ type: "ok", ref: first.ref, seq: 1, at: 1 });
  await slow;
  client.close();
});

test("a refusal for now is tried again with the same key, a final one is told", async () => {
  const { client, peer } = await server.connected();
  const sent = client.send("lobby", { text: "x" }, { key: "k" });
  for (const code of ["rate_limited", "unavailable"]) {
    const send = await peer.hear("send");
    assert.equal(send.key, "k");
    peer.say({ type: "error", ref: send.ref, code, message: "later", retry_after_ms: 1 });
  }
  peer.say({ type: "error", ref: (await peer.hear("send")).ref, code: "not_member", message: "join first" });
  await assert.rejects(sent, { code: "not_member", message: "join first" });
  const next = client.send("lobby", { text: "y" });
  peer.say({ type: "ok", ref: (await peer.hear("send")).ref, seq: 1, at: 1 });
  assert.equal((await next).seq, 1);
  client.close();
});

test("five times unavailable, and the caller is told", async () => {
  const { client, peer } = await server.connected();
  const sent = assert.rejects(client.send("lobby", { text: "x" }), { code: "unavailable" });
  for (let i = 0; i < 5; i += 1) {
    const { ref } = await peer.hear("send");
    peer.say({ type: "error", ref, code: "unavailable", message: "later", retry_after_ms: 1 });
  }
  await sent;
  client.close();
});

test("a send that is aborted in the line ends at once and is not sent, and those behind it stay in line", async () => {
  const { client, peer } = await server.connected();
  const first = client.send("lobby", { text: "first" });
  const abort = new AbortController();
  const second = assert.rejects(client.send("lobby", { text: "second" }, { signal: abort.signal }), { name: "AbortError" });
  const third = client.send("lobby", { text: "third" });
  const { ref } = await peer.hear("send");
  abort.abort();
  await second;
  // What would overtake is heard before this.
  client.typing("lobby");
  await peer.hear("typing");
  peer.say({ type: "ok", ref, seq: 1, at: 1 });
  const send = await peer.hear("send");
  assert.equal(send.text, "third");
  peer.say({ type: "ok", ref: send.ref, seq: 2, at: 1 });
  await Promise.all([first, third]);
  client.close();
});

test("a request that is aborted on its way ends at once; its answer is passed over, and the line goes on", async () => {
  const { client, peer } = await server.connected({ timeout: 3_600_000 });
  const abort = new AbortController();
  const reason = new Error("enough");
  const how = { signal: abort.signal };
  const asked = assert.rejects(client.open("lobby", {}, how), reason);
  const sent = assert.rejects(client.send("lobby", { text: "first" }, how), reason);
  const next = client.send("lobby", { text: "second" });
  const refs = [(await peer.hear("open")).ref, (await peer.hear("send")).ref];
  abort.abort(reason);
  await Promise.all([asked, sent]);
  peer.say({ type: "error", ref: refs[0], code: "no_such_room", message: "late" });
  peer.say({ type: "ok", ref: refs[1], seq: 1, at: 1 });
  const send = await peer.hear("send");
  assert.equal(send.text, "second");
  peer.say({ type: "ok", ref: send.ref, seq: 2, at: 1 });
  assert.equal((await next).seq, 2);
  assert.equal(client.told.length, 0, "nobody is told of what nobody waits for");
  await assert.rejects(client.rooms({}, { signal: AbortSignal.abort() }), { name: "AbortError" });
  client.close();
});

test("behind, reset and a gap are told, and what follows is heard from there", async () => {
  const { client, peer } = await server.connected({}, LOBBY);
  peer.say({ type: "behind", room: "lobby", after: 4, head: 20 });
  peer.entry("lobby", 21);
  peer.entry("lobby", 24);
  peer.say({ type: "reset", room: "lobby", head: 3 });
  peer.entry("lobby", 4);
  const told = [];
  for (let i = 0; i < 6; i += 1) told.push(await client.told.next());
  const short = told.map(({ event, seq, after, head }) => [event, seq ?? after ?? head, head]);
  assert.deepEqual(short, [
    ["behind", 4, 20], ["entry", 21, undefined], ["behind", 21, 23], ["entry", 24, undefined], ["reset", 3, 3], ["entry", 4, undefined],
  ]);
  client.close();
});

test("a join is followed from its place, whether its entry comes before or after the answer", async () => {
  const { client, peer } = await server.connected();
  const joined = client.join("lobby");
  const { ref } = await peer.hear("join");
  peer.say({ type: "ok", ref, seq: 7 });
  await joined;
  assert.deepEqual(client.positions, { lobby: 6 });
  peer.entry("lobby", 7);
  assert.equal((await client.told.next()).seq, 7);
  const left = client.leave("lobby");
  peer.say({ type: "ok", ref: (await peer.hear("leave")).ref, seq: 8 });
  await left;
  assert.deepEqual(client.positions, {});
  client.close();
});

test("bye is obeyed: it comes back after the server's delay", async () => {
  const waits = [];
  const { client, peer } = await server.connected({ backoff: (failures, atLeast) => (waits.push([failures, atLeast]), 0) });
  peer.say({ type: "bye", reason: "going_away", reconnect_after_ms: 1234 });
  assert.equal((await client.told.next()).reason, "going_away");
  peer.socket.close(1001);
  const again = await server.peers.next();
  again.drop();
  await (await server.peers.next()).welcome();
  assert.deepEqual(waits, [[0, 1234], [1, 0]]);
  client.close();
});

test("a token that is not valid ends it, and a fresh one begins anew from the same positions", async () => {
  const { client, peer } = await server.connected({}, LOBBY);
  peer.socket.close(4401, "not_authenticated");
  await peer.closed;
  await assert.rejects(client.send("lobby", { text: "x" }).then(() => client.connect()), { code: "unauthorized" });
  assert.equal(client.state.code, "unauthorized");
  client.setToken("fresh");
  const connecting = client.connect();
  const hello = await (await server.peers.next()).welcome(LOBBY);
  await connecting;
  assert.deepEqual([hello.token, hello.rooms], ["fresh", { lobby: 4 }]);
  client.close();
});

test("a hello that is refused ends it; one that can't be checked now does not", async () => {
  const client = server.client();
  const connecting = client.connect();
  let peer = await server.peers.next();
  peer.say({ type: "error", ref: (await peer.hear("hello")).ref, code: "unavailable", message: "later" });
  peer = await server.peers.next();
  peer.say({ type: "error", ref: (await peer.hear("hello")).ref, code: "unauthorized", message: "not valid" });
  await assert.rejects(connecting, { code: "unauthorized", message: "not valid" });
});

test("a fresh token is asked for while the connection is up, and told without a new one", async () => {
  const { client, peer } = await server.connected({}, LOBBY);
  peer.say({ type: "error", code: "unauthorized", field: "token", message: "it ends soon" });
  assert.equal((await client.told.next()).event, "token");
  client.setToken("fresh");
  const hello = await peer.welcome(LOBBY);
  assert.deepEqual([hello.token, hello.rooms], ["fresh", undefined]);
  client.close();
});

test("a fresh token that comes while the old one is looked at is told right after, whatever becomes of the old one", async () => {
  for (const refused of [false, true]) {
    const client = server.client();
    const connecting = client.connect();
    const peer = await server.peers.next();
    const first = await peer.hear("hello");
    assert.equal(first.token, "secret");
    client.setToken("fresh");
    if (refused) peer.say({ type: "error", ref: first.ref, code: "unauthorized", message: "no" });
    else peer.greet(first);
    const second = await peer.hear("hello");
    assert.equal(second.token, "fresh");
    if (refused) peer.greet(second);
    await connecting;
    assert.equal(client.state.is, "online");
    client.close();
  }
});

test("a leave or kick that was done is done, also where its answer was lost", async () => {
  const { client, peer } = await server.connected({}, LOBBY);
  const refusal = { type: "error", code: "not_member", message: "no member" };
  const asked = { leave: () => client.leave("lobby"), kick: () => client.kick("lobby", "bob") };
  let now = peer;
  for (const [type, ask] of Object.entries(asked)) {
    const done = ask();
    await now.hear(type);
    now.drop();
    now = await server.peers.next();
    await now.welcome([]);
    now.say({ ...refusal, ref: (await now.hear(type)).ref });
    assert.deepEqual(await done, {});
    // At the first try it is what it says.
    const refused = ask();
    now.say({ ...refusal, ref: (await now.hear(type)).ref });
    await assert.rejects(refused, { code: "not_member" });
  }
  client.close();
});

test("silence is asked about, and given up after another heartbeat", async () => {
  const client = server.client();
  const connecting = client.connect();
  const peer = await server.peers.next();
  await peer.welcome([], 0.05);
  await connecting;
  assert.equal((await peer.frames.next()).type, "ping");
  await peer.closed;
  const again = await server.peers.next("a new connection after the silence");
  await again.welcome();
  client.close();
});

test("a silence that nobody asked about, for the timers stood still, is asked about and not given up", async () => {
  const client = server.client();
  const connecting = client.connect();
  const peer = await server.peers.next();
  await peer.welcome([], 0.2);
  await connecting;
  peer.entry("lobby", 5);
  await client.told.next();
  // Three heartbeats, as when a browser lets a hidden page's timers run once a minute.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 600);
  await peer.hear("ping");
  peer.say({ type: "pong" });
  await peer.hear("ping");
  assert.equal(client.state.is, "online");
  assert.equal(server.peers.length, 0, "it is the same connection");
  client.close();
});

test("woken, it connects at once, or asks whether the connection still lives", async () => {
  const { client, peer } = await server.connected({ backoff: () => 3_600_000 });
  client.wake();
  const ping = await peer.hear("ping");
  peer.say({ type: "pong", ref: ping.ref });
  peer.drop();
  await peer.closed;
  while ((await client.states.next()).is !== "waiting");
  client.wake();
  await (await server.peers.next()).welcome();
  client.close();
});

test("what has no answer in time is told; a read is tried again after a loss", async () => {
  const { client, peer } = await server.connected({ timeout: 50 });
  const late = assert.rejects(client.open("lobby"), { code: "timed_out" });
  await peer.hear("open");
  await late;
  const { client: other, peer: first } = await server.connected();
  const read = other.history("lobby", { before: 10, limit: 2 });
  assert.equal((await first.hear("history")).before, 10);
  first.drop();
  const second = await server.peers.next();
  await second.welcome();
  const { ref } = await second.hear("history");
  second.say({ type: "ok", ref, entries: [], more: false });
  assert.equal((await read).more, false);
  client.close();
  other.close();
});

test("watching goes on after a reconnect", async () => {
  const { client, peer } = await server.connected();
  const watching = client.watch(true);
  peer.say({ type: "ok", ref: (await peer.hear("watch")).ref });
  await watching;
  peer.drop();
  const again = await server.peers.next();
  await again.welcome();
  assert.equal((await again.hear("watch")).directory, true);
  again.say({ type: "room", id: "new", name: "New", topic: "", owner: "bob" });
  assert.equal((await client.told.next()).id, "new");
  client.close();
});

test("typing is said only while there is a connection", async () => {
  const client = server.client({ backoff: () => 3_600_000 });
  client.typing("lobby");
  const connecting = client.connect();
  const peer = await server.peers.next();
  await peer.welcome();
  await connecting;
  client.typing("lobby");
  const frame = await peer.hear("typing");
  assert.deepEqual(frame, { type: "typing", room: "lobby", on: true });
  client.close();
});

test("what is not JSON makes it connect again", async () => {
  const { client, peer } = await server.connected();
  peer.socket.send("{");
  await (await server.peers.next()).welcome();
  client.close();
});

test("waits double up to ten seconds, are spread, and keep what the server asked for", () => {
  const waits = Array.from({ length: 8 }, (_, failures) => backoff(failures, 0, () => 1));
  assert.deepEqual(waits, [200, 400, 800, 1600, 3200, 6400, 10000, 10000]);
  assert.equal(backoff(3, 500, () => 0), 500);
  assert.equal(backoff(0, 3000, () => 0.5), 3100);
  assert.equal(backoff(1e9, 0, () => 1), 10000);
});
