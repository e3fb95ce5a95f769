// What stays on the page stays the same thing while messages arrive: to press, to look at, to listen to.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Way } from "../lib/proxy.mjs";
import { fill, Hubbub } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";

let browser, server, person, owner, bob, cat, here, there, other;

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start("--sends-per-second=1000000")]);
  person = await server.person("Ann");
  [owner, bob, cat] = [await server.client(person), await server.client(await server.person("Bob")), await server.client(await server.person("Cat"))];
  [here, there] = [await owner.create({ name: "Here", topic: "old" }), await owner.create({ name: "There" })];
  other = await bob.create({ name: "Another" });
  for (const { id } of [here, there]) await bob.join(id);
});
after(async () => {
  for (const client of [owner, bob, cat]) client?.close();
  await browser?.close();
  await server?.stop();
});

const come = async (hash, options = {}, url = server.url) => {
  const ann = await Visitor.come(browser, url, options);
  await ann.be(person, hash);
  return ann;
};

/** The button of the mouse goes down on it, something happens that is drawn, and it goes up. */
const press = async (ann, on, meanwhile) => {
  await on.scrollIntoViewIfNeeded();
  await on.hover();
  await ann.page.mouse.down();
  await meanwhile();
  await ann.page.mouse.up();
};

const counted = (ann, where, before) => async () => {
  await bob.send(there.id, { text: "news" });
  await ann.page.locator(`${where} .count`, { hasText: `${before + 1} unread` }).waitFor();
};
const members = (ann, count) => ann.page.locator(".under", { hasText: `${count} members` }).waitFor();

test("a room is opened by a press in which a message arrives", async () => {
  const ann = await come(`#/r/${here.id}`);
  const link = `.room-link[data-room="${there.id}"]`;
  await press(ann, ann.page.locator(link), counted(ann, link, 0));
  await ann.page.getByRole("heading", { name: "There", exact: true }).waitFor();
  await ann.leave();
});

test("a room is opened and joined from the directory by such a press", async () => {
  const ann = await come("#/rooms");
  const card = `.card-link[data-key="open-${there.id}"]`;
  await press(ann, ann.page.locator(card), counted(ann, card, 0));
  await ann.page.getByRole("heading", { name: "There", exact: true }).waitFor();
  await ann.page.evaluate(() => { location.hash = "#/rooms"; });
  const join = ann.page.getByRole("button", { name: "Join Another" });
  await press(ann, join, counted(ann, card, 0));
  await ann.page.getByRole("heading", { name: "Another" }).waitFor();
  await ann.page.locator(".composer").waitFor();
  await owner.leave(other.id);
  await ann.leave();
});

test("a room is left, and somebody removed, by a press in which somebody joins", async () => {
  const ann = await come(`#/r/${here.id}`);
  await members(ann, 2);
  await press(ann, ann.page.getByRole("button", { name: "Leave room" }), async () => {
    await cat.join(here.id);
    await members(ann, 3);
    await ann.page.locator(".person", { hasText: "Cat" }).waitFor();
  });
  await ann.page.getByRole("dialog", { name: "Leave Here?" }).waitFor();
  await ann.page.keyboard.press("Escape");
  await press(ann, ann.page.getByRole("button", { name: "Remove Bob" }), async () => {
    await cat.leave(here.id);
    await members(ann, 2);
    await ann.page.locator(".person", { hasText: "Cat" }).waitFor({ state: "detached" });
  });
  await ann.page.getByRole("dialog", { name: "Remove Bob?" }).waitFor();
  await ann.leave();
});

test("details and the list of rooms stay where one scrolled them to", async () => {
  const rooms = [];
  for (let n = 1; n <= 12; n += 1) rooms.push(await owner.create({ name: `Room ${String(n).padStart(2, "0")}` }));
  const ann = await come(`#/r/${here.id}`, { viewport: { width: 1280, height: 340 } });
  await members(ann, 2);
  await ann.page.getByRole("button", { name: "Leave room" }).waitFor();
  const down = (selector) => ann.page.locator(selector).evaluate((one) => {
    one.scrollTop = 60;
    return one.scrollTop;
  });
  const at = (selector) => ann.page.locator(selector).evaluate((one) => one.scrollTop);
  assert.equal(await down(".aside-scroll"), 60);
  await cat.join(here.id);
  await members(ann, 3);
  await ann.page.locator(".person", { hasText: "Cat" }).waitFor();
  assert.equal(await at(".aside-scroll"), 60);
  await ann.page.locator(".room-link").first().focus();
  assert.equal(await down(".side-rooms"), 60);
  await bob.send(there.id, { text: "news" });
  await ann.page.locator(`.room-link[data-room="${there.id}"] .count`).waitFor();
  assert.equal(await at(".side-rooms"), 60);
  assert.ok(await ann.page.locator(".room-link").first().evaluate((one) => one === document.activeElement));
  await ann.leave();
  await cat.leave(here.id);
  for (const { id } of rooms) await owner.leave(id);
});

test("who comes and goes changes places in the list, and nobody is in it twice or not at all", async () => {
  await cat.join(here.id);
  const ann = await come(`#/r/${here.id}`);
  const names = () => ann.page.locator(".person .name").allInnerTexts();
  await until("all are there", async () => (await names()).join() === "Ann,Bob,Cat");
  bob.close();
  await until("he is the last", async () => (await names()).join() === "Ann,Cat,Bob");
  await bob.connect();
  await until("he is back", async () => (await names()).join() === "Ann,Bob,Cat");
  await cat.leave(here.id);
  await until("she is gone", async () => (await names()).join() === "Ann,Bob");
  await ann.leave();
});

test("the title of a hidden tab counts what is unread", async () => {
  const ann = await come(`#/r/${here.id}`);
  await ann.composer.waitFor();
  await ann.until("it says where we are", () => document.title === "Here · Hubbub");
  // A tab that is hidden gets no frames.
  await ann.page.evaluate(() => { globalThis.requestAnimationFrame = () => 0; });
  await bob.send(there.id, { text: "news" });
  await ann.until("it counts", () => document.title === "(1) Here · Hubbub");
  await ann.leave();
});

test("topic and members are right after an absence in which too much was said to be told", async () => {
  const way = await Way.to(server.port);
  const ann = await come(`#/r/${here.id}`, {}, way.url);
  await ann.page.locator(".under", { hasText: "old · 2 members" }).waitFor();
  way.cut();
  await ann.page.locator(".room .chip:not([data-state=online])").waitFor();
  await owner.topic(here.id, "new");
  await cat.join(here.id);
  await fill(bob, here.id, 1_100);
  way.mend();
  await ann.page.locator(".under", { hasText: "new · 3 members" }).waitFor();
  await cat.leave(here.id);
  await ann.page.locator(".under", { hasText: "new · 2 members" }).waitFor();
  way.close();
  await ann.leave();
});

test("who listens is told once that the connection is away, and once that it is back", async () => {
  const way = await Way.to(server.port);
  const ann = await come(`#/r/${here.id}`, {}, way.url);
  await members(ann, 2);
  await ann.page.evaluate(() => {
    globalThis.said = [];
    globalThis.states = 0;
    new MutationObserver((changes) => {
      for (const { target, type } of changes) {
        if (type === "attributes") globalThis.states += 1;
        const live = (target.nodeType === Node.TEXT_NODE ? target.parentElement : target).closest("[role=status], [role=log], [role=alert], [aria-live]");
        if (type !== "attributes" && live?.textContent) globalThis.said.push(live.textContent);
      }
    }).observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["data-state"] });
  });
  way.cut();
  const again = ann.page.getByRole("button", { name: "Try now" });
  await again.waitFor();
  for (let n = 0; n < 3; n += 1) {
    const states = await ann.page.evaluate(() => globalThis.states);
    await again.click();
    await ann.until("it was tried", (before) => globalThis.states >= before + 4, states);
  }
  way.mend();
  await again.click();
  await again.waitFor({ state: "hidden" });
  await ann.page.locator(".me .chip[data-state=online]").waitFor();
  const said = await ann.page.evaluate(() => globalThis.said);
  assert.deepEqual(said.map((text) => text.split(".")[0]), ["Offline", "You’re offline", "Online"]);
  way.close();
  await ann.leave();
});

test("who listens to the status view is told of its health when it changes", async () => {
  const visitor = await Visitor.come(browser, server.url);
  await visitor.page.goto(`${server.url}/status`);
  await visitor.page.getByText("Ready", { exact: true }).waitFor();
  await visitor.page.evaluate(() => {
    globalThis.said = 0;
    new MutationObserver((changes) => { globalThis.said += changes.length; }).observe(document.querySelector(".health"), { subtree: true, childList: true, characterData: true });
  });
  const uptime = () => visitor.page.locator(".status-head .soft").innerText();
  for (let n = 0; n < 2; n += 1) {
    const before = await uptime();
    await until("it is read again", async () => await uptime() !== before);
  }
  assert.equal(await visitor.page.evaluate(() => globalThis.said), 0);
  await visitor.leave();
});
