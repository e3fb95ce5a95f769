// The server dies, the way is cut or slow, the browser is offline: nothing is lost, nothing is twice, and it is said.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Way } from "../lib/proxy.mjs";
import { Hubbub } from "../lib/server.mjs";

let browser, server, room;
const people = {};

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start()]);
  [people.ann, people.bob] = [await server.person("Ann"), await server.person("Bob")];
  const [ann, bob] = [await server.client(people.ann), await server.client(people.bob)];
  room = await ann.create({ name: "Unbroken" });
  await bob.join(room.id);
  ann.close();
  bob.close();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const come = async (person, url = server.url) => {
  const visitor = await Visitor.come(browser, url);
  await visitor.be(person, `#/r/${room.id}`);
  await visitor.page.locator(".chip[data-state=online]").first().waitFor();
  await visitor.composer.waitFor();
  return visitor;
};

/** The room's log by another way, and that both see just that. */
const agree = async (...visitors) => {
  const client = await server.client(people.ann);
  const { entries } = await client.history(room.id, { before: Number.MAX_SAFE_INTEGER, limit: 1_000 });
  client.close();
  const log = entries.filter(({ type }) => type === "message").map(({ text }) => text);
  for (const visitor of visitors) {
    await visitor.page.locator(".drafts .message").first().waitFor({ state: "detached" });
    const seen = await visitor.texts();
    assert.deepEqual(seen, log.slice(-seen.length));
  }
  return log;
};

const once = (log, texts) => {
  for (const text of texts) assert.equal(log.filter((said) => said === text).length, 1, text);
};

test("the server is killed and begun again under two people who write", async () => {
  const [ann, bob] = [await come(people.ann), await come(people.bob)];
  const said = [];
  const write = async (who, name, from, to) => {
    for (let n = from; n <= to; n += 1) {
      said.push(`${name} ${n}`);
      await who.say(`${name} ${n}`);
    }
  };
  await Promise.all([write(ann, "ann", 1, 5), write(bob, "bob", 1, 5)]);
  const ending = server.end();
  await Promise.all([write(ann, "ann", 6, 10), write(bob, "bob", 6, 10)]);
  await ending;
  for (const who of [ann, bob]) {
    await who.page.locator(".chip:not([data-state=online])").first().waitFor();
    await who.page.getByText("You’re offline.").waitFor();
  }
  await write(ann, "away", 1, 3);
  assert.ok(await ann.page.locator(".drafts .message.waiting").count() >= 3);
  await server.begin();
  for (const who of [ann, bob]) await who.page.getByText("You’re offline.").waitFor({ state: "hidden" });
  // Whoever's came last.
  for (const who of [ann, bob]) for (const text of ["away 3", "bob 10"]) await who.hears(text);
  const log = await agree(ann, bob);
  once(log, said);
  // One person's messages are in the order in which they were written.
  for (const name of ["ann", "bob", "away"]) {
    const numbers = log.filter((text) => text.startsWith(`${name} `)).map((text) => Number(text.split(" ")[1]));
    assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
  }
  await ann.leave();
  await bob.leave();
});

test("what waits survives a reload of the page, and is sent once", async () => {
  const way = await Way.to(server.port);
  const ann = await come(people.ann, way.url);
  const bob = await come(people.bob);
  way.cut();
  await ann.say("written while cut off");
  await ann.page.locator(".drafts .message.waiting").waitFor();
  way.mend();
  await ann.page.reload();
  await bob.hears("written while cut off");
  await ann.page.locator(".drafts .message").waitFor({ state: "detached" });
  once(await agree(ann, bob), ["written while cut off"]);
  way.close();
  await ann.leave();
  await bob.leave();
});

test("offline in the browser, and back", async () => {
  const [ann, bob] = [await come(people.ann), await come(people.bob)];
  const way = await Way.to(server.port);
  await ann.leave();
  const cut = await come(people.ann, way.url);
  way.cut();
  await cut.page.getByText("You’re offline.").waitFor();
  for (let n = 1; n <= 3; n += 1) await bob.say(`meanwhile ${n}`);
  await cut.say("from the train");
  // In vain while it is cut; afterwards it would race with the page's own next attempt.
  await cut.page.getByRole("button", { name: "Try now" }).click();
  way.mend();
  await cut.hears("meanwhile 3");
  await bob.hears("from the train");
  const log = await agree(cut, bob);
  once(log, ["meanwhile 1", "meanwhile 2", "meanwhile 3", "from the train"]);
  way.close();
  await cut.leave();
  await bob.leave();
});

test("with two pieces of a hundred delayed, both see one order and each message once", async () => {
  const way = await Way.to(server.port, { share: 0.02, delay: 300 });
  const [ann, bob] = [await come(people.ann, way.url), await come(people.bob, way.url)];
  const said = [];
  await Promise.all([[ann, "a"], [bob, "b"]].map(async ([who, name]) => {
    for (let n = 1; n <= 25; n += 1) {
      said.push(`${name}${n} slow`);
      await who.say(`${name}${n} slow`);
    }
  }));
  await ann.hears("b25 slow");
  await bob.hears("a25 slow");
  once(await agree(ann, bob), said);
  way.close();
  await ann.leave();
  await bob.leave();
});

test("a message that the server refuses is shown as not sent, and can be tried again or discarded", async () => {
  const [ann, bob] = [await come(people.ann), await come(people.bob)];
  const owner = await server.client(people.ann);
  await owner.kick(room.id, people.bob.id);
  await bob.page.getByRole("button", { name: "Join room" }).waitFor();
  const guest = await server.client(people.bob);
  await guest.join(room.id);
  guest.close();
  await bob.page.reload();
  await bob.composer.fill("too late");
  // Between the key press and the server he is removed again; the page does not know yet.
  const way = await Way.to(server.port);
  const slow = await come(people.bob, way.url);
  way.cut();
  await slow.say("not for long");
  await slow.page.locator(".drafts .message.waiting").waitFor();
  await owner.kick(room.id, people.bob.id);
  way.mend();
  await slow.page.locator(".drafts .message.failed").getByText("Not sent. You are not a member of this room any more.").waitFor();
  owner.close();
  await slow.page.getByRole("button", { name: "Join room" }).click();
  await slow.composer.waitFor();
  await slow.page.getByRole("button", { name: "Try again" }).click();
  await ann.hears("not for long");
  once(await agree(ann), ["not for long"]);
  way.close();
  for (const who of [ann, bob, slow]) await who.leave();
});

test("a server that is ended in order says goodbye, and people are back when it is", async () => {
  const ann = await come(people.ann);
  await server.end("SIGTERM");
  await ann.page.locator(".chip:not([data-state=online])").first().waitFor();
  await server.begin();
  await ann.page.locator(".chip[data-state=online]").first().waitFor();
  await ann.say("and on it goes");
  await ann.hears("and on it goes");
  await ann.leave();
});
