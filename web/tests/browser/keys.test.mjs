// Where the focus is: in dialogs, after them, and in a conversation.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { fill, Hubbub } from "../lib/server.mjs";

let browser, server, room, ann, page;

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start("--sends-per-second=1000000")]);
  const person = await server.person("Ann");
  const client = await server.client(person);
  room = await client.create({ name: "Keys" });
  const bob = await server.client(await server.person("Bob"));
  await bob.join(room.id);
  await fill(client, room.id, 150);
  for (const one of [client, bob]) one.close();
  ann = await Visitor.come(browser, server.url);
  ({ page } = ann);
  await ann.be(person, `#/r/${room.id}`);
  await ann.hears("message 150");
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const focused = () => page.evaluate(() => document.activeElement.closest("[data-seq]")?.dataset.seq ?? document.activeElement.ariaLabel ?? document.activeElement.textContent);

test("a dialog begins at its first field", async () => {
  await page.getByRole("button", { name: "New room" }).click();
  await ann.until("one may write the name", () => document.activeElement.name === "name");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "Set a topic" }).click();
  await ann.until("one may write the topic", () => document.activeElement.name === "topic");
  await page.keyboard.press("Escape");
});

test("what was drawn anew while a dialog was open has the focus after it, or else one may write", async () => {
  await page.getByRole("button", { name: "Set a topic" }).focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type("Beans");
  await page.keyboard.press("Enter");
  await page.locator(".under", { hasText: "Beans" }).waitFor();
  await ann.until("the button has it", () => document.activeElement.textContent === "Change topic");
  await page.getByRole("button", { name: "Remove Bob" }).focus();
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.locator(".event-words", { hasText: "Ann removed Bob" }).waitFor();
  await ann.until("the button is no more: one may write", () => document.activeElement.tagName === "TEXTAREA");
});

test("a conversation is one stop of Tab; arrow keys lead from message to message, and stay there while more is read", async () => {
  await ann.composer.focus();
  for (let i = 0; i < 3 && await focused() !== "Conversation"; i += 1) await page.keyboard.press("Shift+Tab");
  assert.equal(await focused(), "Conversation");
  await page.keyboard.press("ArrowUp");
  const last = Number(await focused());
  assert.equal(await page.locator(`[data-seq="${last}"] .text`).innerText(), "message 150");
  await page.keyboard.press("ArrowDown");
  assert.equal(Number(await focused()), last, "there is none below");
  // The log's older part is read on the way, and put before.
  for (let i = 1; i <= 120; i += 1) {
    await page.keyboard.press("ArrowUp");
    assert.equal(Number(await focused()), last - i);
  }
  await page.keyboard.press("Enter");
  await page.getByText("Link to the message copied").waitFor();
  await page.keyboard.press("Home");
  await page.getByText("This is where it began.").waitFor();
  await page.keyboard.press("End");
  await ann.until("the newest is in view", () => { const view = document.querySelector(".timeline"); return view.scrollTop + view.clientHeight >= view.scrollHeight - 2; });
  assert.equal(await focused(), "Conversation");
  await page.keyboard.press("Tab");
  assert.doesNotMatch(await page.evaluate(() => document.activeElement.className), /permalink/);
  assert.deepEqual(await ann.violations(), []);
});
