// What somebody wrote, or read, is not lost: a storage that is full, another room, another tab.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Hubbub, PNG } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";

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

const click = (page, room) => page.locator(`.room-link[data-room="${room.id}"]`).click();
const preview = (page) => page.getByAltText("The picture that you are about to send");

/** Takes the tab's storage up, but for so many characters. */
const fillStorage = (page, but) => page.evaluate((but) => {
  let size = 0;
  for (let step = 1 << 22; step > 0; step >>= 1) {
    try {
      sessionStorage.setItem("filler", "x".repeat(size + step));
      size += step;
    } catch {}
  }
  sessionStorage.setItem("filler", "x".repeat(size - but));
}, but);

const PICTURE = 40_000;
/** Each is another one: what is behind a picture's end is not looked at. */
const paste = (page, n) => page.locator(".composer textarea").evaluate((element, [png, size, n]) => {
  const bytes = new Uint8Array(size).fill(n);
  bytes.set(Uint8Array.from(atob(png), (char) => char.charCodeAt(0)));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "picture", { type: "image/png" }));
  element.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}, [PNG.split(",")[1], PICTURE, n]);

test("texts that wait survive a reload when pictures have filled the storage, and it is said what would not", async () => {
  const ann = await Visitor.come(browser, server.url);
  const { page } = ann;
  const ways = new Set();
  let cut = false;
  await page.routeWebSocket("**/v1/ws", (socket) => {
    if (cut) return void socket.close();
    socket.connectToServer();
    ways.add(socket);
  });
  await ann.be(person, `#/r/${here.id}`);
  await ann.composer.waitFor();
  // Three of five pictures have room, and of the texts behind them not one.
  await fillStorage(page, Math.round(PICTURE * 4 / 3 * 3.04));
  cut = true;
  for (const socket of ways) await socket.close();
  await page.getByText("You’re offline.").waitFor();
  for (let n = 1; n <= 5; n += 1) {
    await paste(page, n);
    await preview(page).waitFor();
    await page.getByRole("button", { name: "Send", exact: true }).click();
    await until(`${n} wait`, async () => await page.locator(".drafts .message").count() === n);
  }
  const texts = [1, 2, 3].map((n) => `${n} of three ${"x".repeat(3_000)}`);
  for (const text of texts) await ann.say(text);
  await until("all wait", async () => await page.locator(".drafts .message").count() === 8);
  const lost = await page.locator(".drafts").getByText("The browser has no room left to keep this").count();
  assert.ok(lost === 3, `${lost} pictures have none, and no text`);
  let asked;
  page.on("dialog", (dialog) => {
    asked = dialog.type();
    void dialog.accept();
  });
  // Not before the old page is gone: it would send what waits itself.
  page.once("framenavigated", () => { cut = false; });
  await page.reload();
  assert.equal(asked, "beforeunload");
  await ann.hears("3 of three");
  const { entries } = await bob.history(here.id, { before: Number.MAX_SAFE_INTEGER, limit: 100 });
  const said = entries.filter(({ type }) => type === "message");
  assert.deepEqual(said.flatMap(({ text }) => text ?? []), texts);
  assert.equal(said.filter(({ image }) => image).length, 2);
  await ann.leave();
});

test("what is written when the storage is full is there after a look into another room", async () => {
  const ann = await Visitor.come(browser, server.url);
  await ann.be(person, `#/r/${here.id}`);
  await ann.composer.fill("early words");
  await fillStorage(ann.page, 0);
  const long = `early words ${"and many more ".repeat(50)}`;
  await ann.composer.fill(long);
  await ann.page.getByText("The browser has no room left").waitFor();
  await click(ann.page, there);
  await ann.page.getByRole("heading", { name: "There" }).waitFor();
  await click(ann.page, here);
  await ann.page.getByRole("heading", { name: "Here", exact: true }).waitFor();
  assert.equal(await ann.composer.inputValue(), long);
  await ann.leave();
});

test("a picture that was chosen and not sent is there after a look into another room", async () => {
  const ann = await Visitor.come(browser, server.url);
  const { page } = ann;
  await ann.be(person, `#/r/${here.id}`);
  await ann.composer.waitFor();
  await paste(page, 9);
  await preview(page).waitFor();
  await click(page, there);
  await page.getByRole("heading", { name: "There" }).waitFor();
  await ann.composer.waitFor();
  assert.equal(await preview(page).count(), 0);
  await click(page, here);
  await preview(page).waitFor();
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await preview(page).waitFor({ state: "detached" });
  await click(page, there);
  await page.getByRole("heading", { name: "There" }).waitFor();
  await click(page, here);
  await page.getByRole("heading", { name: "Here", exact: true }).waitFor();
  await ann.composer.waitFor();
  assert.equal(await preview(page).count(), 0);
  await ann.leave();
});

test("what was read in one tab is read in another, also after a reload", async () => {
  const ann = await Visitor.come(browser, server.url);
  await ann.be(person, `#/r/${here.id}`);
  const { page } = ann;
  const other = await ann.tab();
  await other.goto(`${server.url}/#/r/${there.id}`);
  await other.locator(".composer").waitFor();
  for (let n = 1; n <= 7; n += 1) await bob.send(here.id, { text: `read here ${n}` });
  await ann.hears("read here 7");
  await bob.send(there.id, { text: "read there" });
  await other.locator(".rows:not(.drafts) .text", { hasText: "read there" }).waitFor();
  for (const tab of [page, other]) {
    for (const room of [here, there]) await tab.locator(`.room-link[data-room="${room.id}"]:not(.unread)`).waitFor();
  }
  const kept = (tab) => tab.evaluate((ids) => {
    const key = Object.keys(localStorage).find((key) => key.startsWith("hubbub.read."));
    const read = JSON.parse(localStorage.getItem(key) ?? "{}");
    return ids.map((id) => read[id]);
  }, [here.id, there.id]);
  const heads = [bob.positions[here.id], bob.positions[there.id]];
  await until("both are kept", async () => assert.deepEqual(await kept(page), heads) ?? true);
  for (const tab of [page, other]) {
    await tab.reload();
    for (const room of [here, there]) await tab.locator(`.room-link[data-room="${room.id}"]:not(.unread)`).waitFor();
  }
  await ann.leave();
});

test("who comes and goes is not unread, nor what one said oneself: neither among what is, nor while one was away", async () => {
  const ann = await Visitor.come(browser, server.url);
  await ann.be(person, `#/r/${here.id}`);
  await ann.composer.waitFor();
  const link = ann.page.locator(`.room-link[data-room="${there.id}"]`);
  const cat = await server.client(await server.person("Cat"));
  const elsewhere = await server.client(person);
  await bob.send(there.id, { text: "news" });
  await link.getByText("1 unread").waitFor();
  await cat.join(there.id);
  await elsewhere.send(there.id, { text: "my own" });
  await bob.send(there.id, { text: "more news" });
  await link.getByText("2 unread").waitFor();
  const kept = () => ann.page.evaluate((id) => JSON.parse(Object.entries(localStorage).find(([key]) => key.startsWith("hubbub.read."))[1])[id], there.id);
  await until("something is kept", kept);
  await ann.page.reload();
  await link.getByText("2 unread").waitFor();
  await link.click();
  await ann.hears("more news");
  await ann.page.locator(`.room-link[data-room="${there.id}"]:not(.unread)`).waitFor();
  await click(ann.page, here);
  const { [there.id]: head } = bob.positions;
  await until("it is kept", async () => await kept() === head);
  await ann.page.goto("about:blank");
  await cat.leave(there.id);
  await cat.join(there.id);
  await ann.page.goto(`${server.url}/#/r/${here.id}`);
  await ann.composer.waitFor();
  await ann.page.locator(`.room-link[data-room="${there.id}"]:not(.unread)`).waitFor();
  await bob.send(there.id, { text: "only this" });
  await link.getByText("1 unread").waitFor();
  for (const client of [cat, elsewhere]) client.close();
  await ann.leave();
});

test("what is blank to the server can't be sent", async () => {
  const ann = await Visitor.come(browser, server.url);
  await ann.be(person, `#/r/${here.id}`);
  await ann.composer.fill("\u0085 \u0085");
  assert.ok(await ann.page.getByRole("button", { name: "Send", exact: true }).isDisabled());
  await ann.composer.fill("\u0085 x");
  assert.ok(await ann.page.getByRole("button", { name: "Send", exact: true }).isEnabled());
  await ann.composer.fill("");
  await ann.leave();
});
