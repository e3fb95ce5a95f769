// How it looks to eyes, to a screen reader and to a stopwatch: at three widths, light and dark.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Hubbub, PNG } from "../lib/server.mjs";

const WIDTHS = [390, 820, 1440];
const SCHEMES = ["light", "dark"];
/** With SCREENSHOTS set to a folder, what is looked at is kept there. */
const folder = process.env.SCREENSHOTS;

let browser, server, room, unread, ann, bob;

const SAID = [
  ["ann", "Morning! The seedlings are up."],
  ["bob", "Already? Mine still pretend to be dead 🌱"],
  ["cleo", "Give them a week. What did you sow them in?"],
  ["ann", "Half compost, half sand, as here: https://example.org/sowing/indoors"],
  ["ann", "And patience."],
  ["bob", "I am out of that, but there is sand."],
  ["dmitri", "Доброе утро! Кто завтра в саду?"],
  ["noor", "صباح الخير، سأكون هناك بعد الظهر"],
  ["cleo", "Me, from ten.\nI bring the long ladder for the pear tree, so nobody needs to climb on the water barrel again."],
  ["bob", "That was one time"],
  ["ann", "🎉"],
  ["dmitri", "See you there."],
];
const NAMES = { ann: "Ann", bob: "Bob Lindqvist", cleo: "Cleo", dmitri: "Дмитрий", noor: "نور" };

const clients = {};

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start()]);
  const people = {};
  for (const [key, name] of Object.entries(NAMES)) {
    people[key] = await server.person(name, `${key}@example.org`);
    clients[key] = await server.client(people[key]);
  }
  room = await clients.ann.create({ name: "Garden club", topic: "Beds, beans and the pear tree" });
  const others = [];
  for (const [by, name, topic] of [
    ["bob", "Release 2.4", "What is left before Thursday"], ["cleo", "Book circle", "This month: The Dispossessed"],
    ["dmitri", "Шахматы", "Партия дня"], ["noor", "Kitchen table", "Recipes, and who cooks"], ["bob", "Lost and found", ""],
  ]) others.push(await clients[by].create({ name, topic }));
  for (const key of Object.keys(clients)) await clients[key].join(room.id);
  unread = others[0].id;
  for (const other of others.slice(0, 3)) await clients.ann.join(other.id);
  for (const [who, text] of SAID) await clients[who].send(room.id, { text });
  for (const key of ["cleo", "dmitri"]) clients[key].close();
  [ann, bob] = [people.ann, clients.bob];
  await clients.bob.send(others[0].id, { text: "Two are left" });
});
after(async () => {
  // They would look for the server for ever.
  for (const client of Object.values(clients)) client.close();
  await browser?.close();
  await server?.stop();
});

const keep = async (visitor, name) => {
  if (!folder) return;
  mkdirSync(folder, { recursive: true });
  await visitor.page.screenshot({ path: join(folder, `${name}.png`), animations: "disabled", caret: "hide" });
};

/** That nothing is wrong with what is seen now. */
const inspect = async (visitor, name) => {
  await visitor.page.evaluate(() => Promise.all(document.getAnimations().map((animation) => (animation.effect.getTiming().iterations === Infinity ? undefined : animation.finished.catch(() => {})))));
  assert.deepEqual(await visitor.violations(), [], name);
  const wider = await visitor.page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wider <= 0, `${name} is ${wider} px wider than the view`);
  await keep(visitor, name);
};

for (const width of WIDTHS) {
  for (const colorScheme of SCHEMES) {
    test(`every view at ${width} pixels, ${colorScheme}`, async () => {
      const viewport = { width, height: width < 500 ? 844 : 900 };
      const visitor = await Visitor.come(browser, server.url, { viewport, colorScheme, reducedMotion: "reduce", hasTouch: width < 500, isMobile: width < 500 });
      const { page } = visitor;
      const at = (view) => `${view}-${width}-${colorScheme}`;
      await page.goto(server.url);
      await page.getByRole("tab", { name: "Log in" }).waitFor();
      await inspect(visitor, at("entrance"));
      await page.getByRole("tab", { name: "Create account" }).click();
      await page.getByLabel("Email").fill("bob@example.org");
      await page.getByLabel("Name").fill("Bob");
      await page.getByLabel("Password").fill("correct horse");
      await page.getByRole("button", { name: "Create account" }).click();
      await page.getByRole("alert").getByText("There is an account").waitFor();
      await inspect(visitor, at("refused"));

      await page.evaluate(([key, token, read, seen]) => {
        localStorage.setItem(key, token);
        localStorage.setItem(read, seen);
      }, ["hubbub.token", ann.token, `hubbub.read.${ann.id}`, JSON.stringify({ [unread]: 2 })]);
      await page.goto(`${server.url}/?${width}#/rooms`);
      await page.locator(".card-link").nth(5).waitFor();
      await inspect(visitor, at("rooms"));
      if (width < 500) {
        await page.goto(`${server.url}/?home#/`);
        await page.locator(".room-link").first().waitFor();
        await inspect(visitor, at("home"));
      }
      await page.goto(`${server.url}/?room#/r/${room.id}`);
      await visitor.hears("See you there.");
      bob.typing(room.id);
      await page.getByText("Bob Lindqvist is writing…").waitFor();
      await inspect(visitor, at("room"));
      if (width < 1200) {
        await page.getByRole("button", { name: "People and details" }).click();
        await page.locator("aside").waitFor();
        await inspect(visitor, at("details"));
      }
      assert.deepEqual(visitor.elsewhere, []);
      await visitor.leave();
    });
  }
}

test("what is rarely seen is as good: a dialog, a picture, a failure, a command, a stranger's view, no connection", async () => {
  const visitor = await Visitor.come(browser, server.url, { colorScheme: "dark" });
  const { page } = visitor;
  await visitor.be(ann, `#/r/${room.id}`);
  await visitor.composer.waitFor();
  await page.getByRole("button", { name: "New room" }).click();
  await inspect(visitor, "dialog");
  await page.keyboard.press("Escape");
  const client = await server.client(ann);
  await client.send(room.id, { image: PNG });
  client.close();
  await page.getByAltText("Picture from Ann").waitFor();
  await visitor.say("/nothing");
  await page.locator(".notice").waitFor();
  await inspect(visitor, "notice");
  await page.evaluate(() => { location.hash = "#/r/nowhere"; });
  await page.getByRole("heading", { name: "There is no such room" }).waitFor();
  await page.locator("aside").waitFor({ state: "hidden" });
  assert.equal(await page.getByRole("button", { name: "People and details" }).count(), 0, "there are none");
  await inspect(visitor, "no-room");
  const stranger = await Visitor.come(browser, server.url);
  await stranger.be(await server.person("Stranger"), `#/r/${room.id}`);
  await stranger.page.getByText("You are looking in from outside.").waitFor();
  await inspect(stranger, "outside");
  await server.end();
  await stranger.page.getByText("You’re offline.").waitFor();
  await inspect(stranger, "offline-outside");
  await visitor.leave();
  await stranger.leave();
  await server.begin();
});

/** How much two colors of the page stand out from each other, as WCAG counts it. */
const contrast = (visitor, selector) => visitor.page.locator(selector).first().evaluate((element) => {
  const luminance = (color) => {
    const [r, g, b] = color.match(/[\d.]+/g).map((n) => n / 255).map((n) => (n <= 0.04045 ? n / 12.92 : ((n + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = "rgba(0, 0, 0, 0)";
  const behind = (from) => (getComputedStyle(from).backgroundColor === clear ? behind(from.parentElement) : getComputedStyle(from).backgroundColor);
  const border = luminance(getComputedStyle(element).borderTopColor);
  return Math.min(...[element, element.parentElement].map((one) => {
    const [low, high] = [border, luminance(behind(one))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  }));
});

for (const colorScheme of SCHEMES) {
  test(`where one writes is seen by its border, ${colorScheme}`, async () => {
    const visitor = await Visitor.come(browser, server.url, { colorScheme, reducedMotion: "reduce" });
    await visitor.page.goto(server.url);
    await visitor.page.getByLabel("Email").waitFor();
    const seen = [await contrast(visitor, "#field-password")];
    await visitor.page.goto("about:blank");
    await visitor.be(ann, "#/rooms");
    await visitor.page.locator(".card-link").first().waitFor();
    for (const selector of [".search input", ".side-search input"]) seen.push(await contrast(visitor, selector));
    await visitor.room(room.id);
    await visitor.page.evaluate(() => document.activeElement.blur());
    seen.push(await contrast(visitor, ".composer-row"));
    assert.ok(seen.every((ratio) => ratio >= 3), seen.map((ratio) => ratio.toFixed(2)).join(", "));
    await visitor.leave();
  });
}

test("the longest name of a room leaves its card as it is, and is read whole", async () => {
  const { id } = await clients.bob.create({ name: "W".repeat(80) });
  for (const width of WIDTHS) {
    const visitor = await Visitor.come(browser, server.url, { viewport: { width, height: 844 } });
    await visitor.be(ann, "#/rooms");
    const card = visitor.page.locator(".card-row", { has: visitor.page.locator(`[data-key="open-${id}"]`) });
    await card.waitFor();
    const [name, join, row] = await Promise.all([card.locator(".name"), card.getByRole("button"), card].map((one) => one.boundingBox()));
    assert.ok(name.x + name.width <= join.x && join.x + join.width <= row.x + row.width, `${width}: ${JSON.stringify({ name, join, row })}`);
    assert.ok(await card.locator(".name").evaluate((element) => element.scrollWidth <= element.clientWidth || getComputedStyle(element).display === "inline"));
    await visitor.leave();
  }
});

test("the time of a message that stands with the one before does not touch its text, nor does its ring", async () => {
  for (const locale of ["en-GB", "en-US"]) {
    const visitor = await Visitor.come(browser, server.url, { locale });
    await visitor.be(ann, `#/r/${room.id}`);
    const row = visitor.page.locator(".joined-to").first();
    await row.waitFor();
    const [time, text] = await Promise.all([row.locator(".hung .permalink"), row.locator(".text")].map((one) => one.boundingBox()));
    assert.ok(time.x + time.width + 5 <= text.x, `${locale}: ${JSON.stringify({ time, text })}`);
    assert.ok(await row.locator(".hung .permalink").evaluate((element) => element.scrollWidth <= element.clientWidth));
    await visitor.leave();
  }
});

test("it can be used by keys alone, from the form to the first word", async () => {
  const visitor = await Visitor.come(browser, server.url);
  const { page } = visitor;
  await page.goto(server.url);
  await page.getByRole("tab", { name: "Log in" }).waitFor();
  for (let i = 0; i < 10 && !(await page.evaluate(() => document.activeElement.id === "field-email")); i += 1) await page.keyboard.press("Tab");
  await page.keyboard.type(ann.email);
  await page.keyboard.press("Tab");
  await page.keyboard.type(ann.password);
  await page.keyboard.press("Enter");
  await page.locator(".card-link").first().waitFor();
  const focused = () => page.evaluate(() => (document.activeElement.matches(".card-link") ? document.activeElement.textContent : ""));
  for (let i = 0; i < 40 && !(await focused()).includes("Garden club"); i += 1) await page.keyboard.press("Tab");
  const ring = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(ring, "solid", "what has the focus shows it");
  await page.keyboard.press("Enter");
  await visitor.composer.waitFor();
  await visitor.until("one may write at once", () => document.activeElement.tagName === "TEXTAREA");
  await page.keyboard.type("by keys alone");
  await page.keyboard.press("Enter");
  await visitor.hears("by keys alone");
  await visitor.leave();
});

test("it is painted soon, nothing jumps, and nothing is asked elsewhere", async () => {
  const seen = [];
  for (let i = 0; i < 5; i += 1) {
    const visitor = await Visitor.come(browser, server.url);
    await visitor.context.addInitScript(() => {
      globalThis.shifts = 0;
      new PerformanceObserver((list) => { for (const entry of list.getEntries()) if (!entry.hadRecentInput) globalThis.shifts += entry.value; })
        .observe({ type: "layout-shift", buffered: true });
    });
    await visitor.be(ann, `#/r/${room.id}`);
    await visitor.hears("by keys alone");
    const [paint, shifts] = await visitor.page.evaluate(() => [performance.getEntriesByName("first-contentful-paint")[0]?.startTime, globalThis.shifts]);
    const bytes = await visitor.page.evaluate(() => performance.getEntriesByType("resource").concat(performance.getEntriesByType("navigation")).reduce((sum, entry) => sum + entry.encodedBodySize, 0));
    seen.push(paint);
    assert.ok(bytes > 10_000 && bytes <= 60 * 1_024, `${bytes} bytes`);
    assert.ok(shifts < 0.01, `layout shift ${shifts}`);
    assert.deepEqual([visitor.complaints, visitor.elsewhere], [[], []]);
    await visitor.leave();
  }
  console.log(`# first paint after ${seen.map((ms) => Math.round(ms)).join(", ")} ms`);
  // The best of five: this is about the page, not about what else the machine does.
  assert.ok(Math.min(...seen) < 1_000);
});
