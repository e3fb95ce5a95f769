// Small things that somebody misses: a name, an order, an outline, a sheet of paper.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { fill, Hubbub } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";
import { WAIT, Wire } from "../lib/wire.mjs";

let browser, server, person, bob, lobby;

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start("--sends-per-second=1000000")]);
  person = await server.person("Ann");
  bob = await server.client(await server.person("Bob"));
  lobby = await bob.create({ name: "Lobby" });
});
after(async () => {
  bob?.close();
  await browser?.close();
  await server?.stop();
});

const come = async (hash, options = {}) => {
  const ann = await Visitor.come(browser, server.url, options);
  const wire = await Wire.of(ann.page);
  await ann.be(person, hash);
  return { ann, wire };
};

test("a room that one looks into from outside names the tab, and has the focus", async () => {
  const { ann } = await come("#/rooms");
  await ann.page.locator(`[data-key="open-${lobby.id}"]`).press("Enter");
  await ann.page.getByText("You are looking in from outside.").waitFor();
  await ann.until("the tab is called so", () => document.title === "Lobby · Hubbub");
  await ann.until("its name has the focus", () => document.activeElement.matches("h1") && document.activeElement.textContent === "Lobby");
  await ann.page.evaluate(() => { location.hash = "#/rooms"; });
  await ann.until("no room is shown", () => document.title === "Hubbub");
  await ann.leave();
});

test("a room that can’t be read is read again without loading the page again", async () => {
  const { ann, wire } = await come("#/rooms");
  await ann.page.evaluate(() => { globalThis.same = true; });
  wire.rule = (said, { type }) => type === "open" ? { type: "error", ref: said.ref, code: "internal", message: "not just now" } : said;
  await ann.page.evaluate((hash) => { location.hash = hash; }, `#/r/${lobby.id}`);
  const again = ann.page.getByRole("button", { name: "Try again" });
  await again.focus();
  await ann.page.keyboard.press("Enter");
  await until("it was asked for twice", () => wire.asked.filter(({ type }) => type === "open").length === 2);
  await ann.until("one may try once more", () => document.activeElement.textContent === "Try again" && !document.activeElement.hasAttribute("aria-busy"));
  wire.release();
  await again.click();
  await ann.page.getByText("You are looking in from outside.").waitFor();
  assert.equal(await again.count(), 0);
  assert.ok(await ann.page.evaluate(() => globalThis.same));
  await ann.leave();
});

test("who looks for another room while one is being opened goes on looking", async () => {
  const client = await server.client(person);
  const { id } = await client.create({ name: "Slow" });
  client.close();
  const { ann, wire } = await come("#/rooms");
  wire.rule = (said, { type }) => type === "open" ? WAIT : said;
  await ann.page.evaluate((hash) => { location.hash = hash; }, `#/r/${id}`);
  await until("it is being opened", () => wire.waiting === 1);
  await ann.page.keyboard.press("Control+k");
  await ann.page.keyboard.type("sl");
  wire.release();
  await ann.composer.waitFor();
  assert.ok(await ann.page.getByLabel("Find in your rooms").evaluate((filter) => filter === document.activeElement));
  await ann.leave();
});

test("rooms that are made while one looks stand the newest first", async () => {
  const { ann } = await come("#/rooms");
  await ann.page.locator(".card-link").first().waitFor();
  for (const name of ["First", "Second", "Third"]) {
    await bob.create({ name });
    await ann.page.locator(".card-name", { hasText: name }).waitFor();
  }
  assert.deepEqual((await ann.page.locator(".card-name .name").allInnerTexts()).slice(0, 3), ["Third", "Second", "First"]);
  await ann.leave();
});

test("a name has 80 characters, whatever they are; of a longer one it is said", async () => {
  const { ann } = await come("#/rooms");
  await ann.page.getByRole("button", { name: "New room" }).first().click();
  const dialog = ann.page.getByRole("dialog");
  const name = dialog.getByLabel("Name");
  const make = dialog.getByRole("button", { name: "Create room" });
  await name.fill("🌱".repeat(82));
  assert.equal(await name.inputValue(), "🌱".repeat(82));
  await make.click();
  assert.equal(await name.evaluate((input) => input.validationMessage), "80 characters at most: this is 2 too long.");
  await name.fill("🌱".repeat(80));
  await make.click();
  await ann.page.getByRole("heading", { name: "🌱".repeat(80) }).waitFor();
  await ann.leave();
});

test("a search reads all rooms once, however many keys it took", async () => {
  const ann = await Visitor.come(browser, server.url);
  const wire = await Wire.of(ann.page);
  const PAGES = 6;
  let held = false;
  const waiting = [];
  const page = (ref, n) => ({
    type: "ok", ref, ...(n < PAGES && { next: `p${n}` }),
    rooms: Array.from({ length: 100 }, (_, at) => ({ id: `r${n}-${at}`, name: `Room ${n}-${at}`, topic: "", owner: "bob", members: 1, created_at: 1_000_000 - n * 100 - at })),
  });
  wire.rule = (said, { type, cursor }) => {
    if (type !== "rooms") return said;
    const answer = page(said.ref, cursor ? Number(cursor.slice(1)) + 1 : 1);
    if (!held) return answer;
    waiting.push(answer);
  };
  await ann.be(person, "#/rooms");
  await ann.page.locator(".card-link").first().waitFor();
  held = true;
  await ann.page.getByLabel("Search all rooms").pressSequentially("room 6-42");
  await ann.page.getByText("Looking…").waitFor();
  await until("it is asked for more", () => waiting.length > 0);
  held = false;
  for (const answer of waiting) wire.say(answer);
  await ann.page.locator(".card-name", { hasText: "Room 6-42" }).waitFor();
  const asked = wire.asked.filter(({ type, cursor }) => type === "rooms" && cursor).map(({ cursor }) => cursor);
  assert.deepEqual(asked, ["p1", "p2", "p3", "p4", "p5"]);
  await ann.leave();
});

test("with forced colors it is seen what has the focus and which tab is chosen", async () => {
  const visitor = await Visitor.come(browser, server.url, { forcedColors: "active", reducedMotion: "reduce" });
  const { page } = visitor;
  await page.goto(server.url);
  const ring = (selector) => page.locator(selector).evaluate((one) => {
    const { outlineStyle, outlineWidth } = getComputedStyle(one);
    return `${outlineWidth} ${outlineStyle}`;
  });
  await page.getByLabel("Email").focus();
  assert.equal(await ring("#field-email"), "2px solid");
  const [chosen, not] = await page.getByRole("tab").evaluateAll((tabs) => tabs.map((tab) => {
    const { borderTopWidth, borderTopStyle, borderTopColor } = getComputedStyle(tab);
    return `${borderTopWidth} ${borderTopStyle} ${borderTopColor}`;
  }));
  assert.match(chosen, /^2px solid/);
  assert.notEqual(chosen, not);
  const client = await server.client(person);
  const { id } = await client.create({ name: "Forced" });
  client.close();
  await page.goto("about:blank");
  await visitor.be(person, `#/r/${id}`);
  await visitor.composer.focus();
  assert.equal(await ring(".composer-row"), "2px solid");
  await visitor.leave();
});

test("on paper there is all that was said and nothing of what is around it", async () => {
  const client = await server.client(person);
  const { id } = await client.create({ name: "Paper" });
  await fill(client, id, 100);
  client.close();
  const { ann } = await come(`#/r/${id}`);
  await ann.hears("message 100");
  const rows = await ann.page.locator(".timeline .row").count();
  assert.ok(rows >= 100, `${rows} rows`);
  await ann.page.emulateMedia({ media: "print" });
  // A4 with usual margins, as wide as it is printed.
  await ann.page.setViewportSize({ width: 718, height: 1_000 });
  for (const selector of [".sidebar", ".aside", ".foot"]) assert.ok(await ann.page.locator(selector).isHidden(), selector);
  assert.ok(await ann.page.getByRole("heading", { name: "Paper" }).isVisible());
  const outside = await ann.page.locator(".timeline .row").evaluateAll((all) => {
    const { scrollWidth, scrollHeight } = document.documentElement;
    const cut = (one) => one && (["auto", "scroll", "hidden", "clip"].includes(getComputedStyle(one).overflowY) && one.scrollHeight > one.clientHeight + 1 ? one.className : cut(one.parentElement));
    return all.filter((row) => {
      const { top, bottom, right } = row.getBoundingClientRect();
      return top + scrollY < 0 || bottom + scrollY > scrollHeight + 1 || right > scrollWidth + 1 || cut(row.parentElement);
    }).length;
  });
  assert.equal(outside, 0);
  await ann.leave();
});
