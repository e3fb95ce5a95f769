// Answers that come late: the room was left meanwhile, or more was said in it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Way } from "../lib/proxy.mjs";
import { fill, Hubbub } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";
import { WAIT, Wire } from "../lib/wire.mjs";

let browser, server, person, bob, here, there;

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start("--sends-per-second=1000000")]);
  ({ person, bob, here, there } = await server.twoRooms());
});
after(async () => {
  bob?.close();
  await browser?.close();
  await server?.stop();
});

const say = async (room, ...texts) => {
  for (const text of texts) await bob.send(room.id, { text });
};

/** Ann, in a room, and what her page hears. */
const come = async (room, url = server.url) => {
  const ann = await Visitor.come(browser, url);
  const wire = await Wire.of(ann.page);
  await ann.be(person, `#/r/${room.id}`);
  await ann.composer.waitFor();
  return { ann, wire };
};

const click = (ann, room) => ann.page.locator(`.room-link[data-room="${room.id}"]`).click();
const unread = (ann, room, count) => ann.page.locator(`.room-link[data-room="${room.id}"] .count`, { hasText: `${count} unread` }).waitFor();

test("a room that was left while it was opened is not read", async () => {
  const { ann, wire } = await come(here);
  await say(there, "one", "two");
  await unread(ann, there, 2);
  wire.rule = (said, { type, room }) => type === "open" && room === there.id ? WAIT : said;
  await click(ann, there);
  await until("it is being opened", () => wire.waiting === 1);
  await click(ann, here);
  await ann.page.getByRole("heading", { name: "Here" }).waitFor();
  wire.release();
  await say(there, "three");
  await unread(ann, there, 3);
  await ann.leave();
});

test("a room that was left while its newest messages were read is not read", async () => {
  const { ann, wire } = await come(there);
  await say(there, "seen");
  await ann.hears("seen");
  // Read a moment later than it was asked, after "one".
  wire.rule = (said, { type }) => type === "history" ? undefined : said;
  const { [there.id]: head } = bob.positions;
  wire.say({ type: "behind", room: there.id, after: head - 1, head });
  const { ref } = await until("it is being read", () => wire.asked.find(({ type }) => type === "history"));
  await click(ann, here);
  await ann.page.getByRole("heading", { name: "Here" }).waitFor();
  await say(there, "one");
  await unread(ann, there, 1);
  wire.say({ ...await bob.history(there.id, { before: Number.MAX_SAFE_INTEGER, limit: 100 }), ref });
  await say(there, "two");
  await unread(ann, there, 2);
  await ann.leave();
});

test("the banner of a room that was left has an end", async () => {
  const way = await Way.to(server.port);
  const ann = await Visitor.come(browser, way.url);
  await ann.page.addInitScript(() => {
    const { setInterval, clearInterval } = globalThis;
    globalThis.ticking = new Set();
    globalThis.setInterval = (...how) => {
      const timer = setInterval(...how);
      globalThis.ticking.add(timer);
      return timer;
    };
    globalThis.clearInterval = (timer) => {
      globalThis.ticking.delete(timer);
      clearInterval(timer);
    };
  });
  await ann.be(person, `#/r/${here.id}`);
  await ann.composer.waitFor();
  way.cut();
  for (const room of [here, there, here]) {
    await click(ann, room);
    // Or it is the banner of the room before: exact, for "There" has "here" in it.
    await ann.page.getByRole("heading", { name: room.name, exact: true }).waitFor();
    await ann.page.getByText("You’re offline.").waitFor();
  }
  assert.equal(await ann.page.evaluate(() => globalThis.ticking.size), 1);
  way.close();
  await ann.leave();
});

test("who came and went during an outage is right when it is over", async () => {
  const way = await Way.to(server.port);
  const { ann } = await come(here, way.url);
  await ann.page.locator(".under", { hasText: "2 members, 2 online" }).waitFor();
  way.cut();
  await ann.page.locator(".room .chip:not([data-state=online])").waitFor();
  bob.close();
  const watching = await server.client(await server.person("Cat"));
  await until("he is gone", async () => (await watching.members(here.id)).members.every(({ name, online }) => name !== "Bob" || !online));
  way.mend();
  await ann.page.locator(".under", { hasText: "2 members, 1 online" }).waitFor();
  watching.close();
  await bob.connect();
  await ann.page.locator(".under", { hasText: "2 members, 2 online" }).waitFor();
  way.close();
  await ann.leave();
});

test("a room that could not be read is shown when the connection is back", async () => {
  const { ann, wire } = await come(here);
  wire.rule = (said, { type, room }) => type === "open" && room === there.id
    ? { type: "error", ref: said.ref, code: "internal", message: "not just now" } : said;
  await say(there, "it is there");
  await click(ann, there);
  await ann.page.getByText("The room can’t be read just now").waitFor();
  wire.release();
  await wire.cut();
  await ann.hears("it is there");
  assert.equal(await ann.page.getByText("The room can’t be read just now").count(), 0);
  await ann.leave();
});

test("what comes while the newest messages are read is behind them, by two reads at most", async () => {
  const { ann, wire } = await come(there);
  await say(there, "before");
  await ann.hears("before");
  let heard = 0;
  wire.rule = (said, { type }) => {
    if (said.type === "message") heard += 1;
    if (type !== "history") return said;
    // As of a node that has not got its last entry yet: what comes does not follow on it.
    said.entries.pop();
    return WAIT;
  };
  const { [there.id]: head } = bob.positions;
  wire.say({ type: "behind", room: there.id, after: head - 1, head });
  await until("they are being read", () => wire.waiting > 0);
  const texts = Array.from({ length: 20 }, (_, at) => `meanwhile ${at + 1}`);
  await say(there, ...texts);
  await until("all came", () => heard === texts.length);
  wire.release();
  await ann.hears("meanwhile 20");
  await say(there, "afterwards");
  await ann.hears("afterwards");
  assert.deepEqual((await ann.texts()).slice(-22), ["before", ...texts, "afterwards"]);
  assert.ok(await ann.page.locator(".jump").isHidden());
  const reads = wire.asked.filter(({ type }) => type === "history").length;
  assert.ok(reads <= 2, `${reads} reads`);
  await ann.leave();
});

test("an answer that is older than the log's end is not taken for it", async () => {
  await fill(bob, there.id, 200);
  const { ann, wire } = await come(there);
  await ann.page.locator(".timeline").focus();
  await ann.page.keyboard.press("Home");
  await ann.page.getByText("This is where it began.").waitFor();
  wire.rule = (said, { type }) => type === "history" ? WAIT : said;
  const { [there.id]: head } = bob.positions;
  await ann.page.evaluate((hash) => { location.hash = hash; }, `#/r/${there.id}/${head - 10}`);
  await until("it is being read", () => wire.waiting === 1);
  await say(there, "behind the answer");
  await unread(ann, there, 1);
  wire.release();
  await ann.hears("behind the answer");
  await ann.leave();
});

test("older messages are put before a full window by one read, whatever is said meanwhile", async () => {
  const long = await bob.create({ name: "Long" });
  const owner = await server.client(person);
  await owner.join(long.id);
  owner.close();
  await fill(bob, long.id, 600);
  const { ann, wire } = await come(long);
  const seqs = () => ann.page.locator(".rows:not(.drafts) > .row").evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));
  const up = () => ann.page.locator(".timeline").evaluate((view) => { view.scrollTop = 0; });
  for (const count of [200, 300, 400]) {
    await up();
    await until(`${count} are shown`, async () => (await seqs()).length === count);
  }
  let heard = 0;
  wire.rule = (said, { type }) => {
    if (said.type === "message") heard += 1;
    return type === "history" ? WAIT : said;
  };
  wire.asked = [];
  const [first] = await seqs();
  await up();
  await until("older ones are read", () => wire.waiting === 1);
  await say(long, "one", "two", "three");
  await until("all came", () => heard === 3);
  wire.release();
  await until("they are there", async () => (await seqs())[0] === first - 100);
  assert.ok((await seqs()).every((seq, at) => seq === first - 100 + at));
  assert.equal(wire.asked.filter(({ type }) => type === "history").length, 1);
  await ann.leave();
});
