// What bots are told, and what they say: to one reader, or to all.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Hubbub } from "../lib/server.mjs";
import { Wire } from "../lib/wire.mjs";

let browser, server, room, bob, ann, wire;

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start()]);
  const person = await server.person("Ann");
  const client = await server.client(person);
  room = await client.create({ name: "Bots" });
  client.close();
  bob = await server.client(await server.person("Bob"));
  await bob.join(room.id);
  ann = await Visitor.come(browser, server.url);
  wire = await Wire.of(ann.page);
  await ann.be(person, `#/r/${room.id}`);
  await ann.composer.waitFor();
});
after(async () => {
  bob?.close();
  await browser?.close();
  await server?.stop();
});

/** What stands below one another in the conversation: messages by their text, notices by their command. */
const order = () => ann.page.locator(".timeline .rows :is(.message .text, .notice code)").allInnerTexts();

test("the answer to /help is shown to who asked, line by line", async () => {
  await ann.say("/help");
  const notice = ann.page.locator(".notice", { hasText: "Only you see this." });
  await notice.getByText("/stock=").waitFor();
  const lines = (await notice.innerText()).split("\n").filter((line) => line.startsWith("/"));
  assert.ok(lines.length >= 3, `/help itself and the commands, a line each: ${lines}`);
});

test("a notice stays where it came, whatever is said after it and however often it is drawn", async () => {
  await bob.send(room.id, { text: "one" });
  await ann.hears("one");
  await ann.say("/nonsense");
  await ann.page.locator(".notice.bad").waitFor();
  await bob.send(room.id, { text: "two" });
  await ann.hears("two");
  const expected = ["/help", "one", "/nonsense", "two"];
  assert.deepEqual(await order(), expected);
  assert.doesNotMatch(await ann.page.locator(".row.message", { hasText: "two" }).getAttribute("class"), /joined-to/, "who speaks is said again behind it");
  // All rows are drawn anew.
  const { [room.id]: head } = bob.positions;
  await ann.page.evaluate(() => { document.querySelector(".timeline .row").dataset.old = ""; });
  wire.say({ type: "behind", room: room.id, after: head, head });
  await ann.page.locator(".timeline .row[data-old]").waitFor({ state: "detached" });
  await bob.send(room.id, { text: "three" });
  await ann.hears("three");
  assert.deepEqual(await order(), [...expected, "three"]);
});

test("a bot that says what was wrong is told from one that answers, by eye and by ear", async () => {
  const { [room.id]: head } = bob.positions;
  const said = { type: "message", room: room.id, user: { id: "bot", name: "bot" }, kind: "bot", at: Date.now() };
  wire.say({ ...said, seq: head + 1, text: "AAPL.US quote is $93.42 per share" });
  wire.say({ ...said, seq: head + 2, text: "There is no such share", error: true });
  await ann.hears("no such share");
  const color = (text) => ann.page.locator(".text", { hasText: text }).evaluate((element) => getComputedStyle(element).color);
  assert.notEqual(await color("no such share"), await color("93.42"));
  assert.match(await ann.page.locator(".row", { hasText: "no such share" }).innerText(), /Error:\s+There is no such share/);
  assert.match(await ann.page.locator("[role=log]").innerText(), /bot: error: There is no such share/);
  assert.deepEqual(await ann.violations(), []);
});
