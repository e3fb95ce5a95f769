// Where one is in a log: links that lead nowhere, what comes meanwhile, another width.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Way } from "../lib/proxy.mjs";
import { fill, freePort, Hubbub } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";

const SECRET = "x".repeat(32);
let browser, server, adminPort, person, owner, bob;

before(async () => {
  adminPort = await freePort();
  [browser, server] = await Promise.all([launch(), Hubbub.start("--sends-per-second=1000000", `--admin-token=ops.${SECRET}`, `--admin-port=${adminPort}`)]);
  person = await server.person("Ann");
  owner = await server.client(person);
  bob = await server.client(await server.person("Bob"));
});
after(async () => {
  for (const client of [owner, bob]) client?.close();
  await browser?.close();
  await server?.stop();
});

async function operate(method, what, body) {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/v1/admin/${what}`, {
    method, headers: { authorization: `Bearer ops.${SECRET}`, "content-type": "application/json" }, body: body && JSON.stringify(body),
  });
  assert.ok(answer.ok, await answer.clone().text());
  return answer.json();
}

/** A room with so many messages: Bob's, in a room of Ann's. */
const made = async (name, count, text) => {
  const room = await owner.create({ name });
  await bob.join(room.id);
  await fill(bob, room.id, count, text);
  return room;
};

const come = async (room, seq, url = server.url) => {
  const ann = await Visitor.come(browser, url);
  await ann.be(person, `#/r/${room.id}${seq ? `/${seq}` : ""}`);
  await ann.composer.waitFor();
  return ann;
};

const jump = (ann) => ann.page.locator(".jump");
const seqs = (ann) => ann.page.locator(".rows:not(.drafts) > .row").evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));
const unbrokenRun = (list) => list.every((seq, at) => at === 0 || seq === list[at - 1] + 1);

/** The first row that is seen. */
const first = () => {
  const top = document.querySelector(".timeline").getBoundingClientRect().top;
  return Number([...document.querySelectorAll(".rows:not(.drafts) > .row")].find((row) => row.getBoundingClientRect().bottom > top + 1)?.dataset.seq);
};

/** Once two frames are drawn, whatever follows from a change has been done. */
const drawn = (ann) => ann.page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(true)))));

test("a link to a message that is not there yet leads to the newest, and says so", async () => {
  const room = await made("Beyond", 150);
  const { [room.id]: head } = bob.positions;
  for (const seq of [999_999, head + 30]) {
    const ann = await come(room, seq);
    await ann.page.locator(".toast", { hasText: "There is no such message yet" }).waitFor();
    await ann.hears("message 150");
    await bob.send(room.id, { text: `after ${seq}` });
    await ann.hears(`after ${seq}`);
    assert.ok(unbrokenRun(await seqs(ann)));
    await ann.leave();
  }
});

test("whoever reads a room's start keeps it, however much comes", async () => {
  const room = await made("Start", 250);
  const ann = await come(room);
  await ann.page.locator(".timeline").focus();
  await ann.page.keyboard.press("Home");
  await ann.page.getByText("This is where it began.").waitFor();
  // All of it is shown, up to what comes.
  await ann.until("the end is read too", (head) => {
    const view = document.querySelector(".timeline");
    if (document.querySelector(`[data-seq="${head}"]`)) return true;
    view.scrollTop = view.scrollHeight;
    return false;
  }, bob.positions[room.id]);
  await ann.page.keyboard.press("Home");
  await ann.until("she is at its start", first);
  assert.equal(await ann.page.evaluate(first), 1);
  await fill(bob, room.id, 300, (n) => `later ${n}`);
  await jump(ann).getByText("300 new messages").waitFor();
  assert.equal(await ann.page.evaluate(first), 1);
  assert.ok(await ann.page.getByText("This is where it began.").isVisible());
  // And down again it goes on, to what is said then.
  await ann.until("she is at the end", () => {
    const view = document.querySelector(".timeline");
    view.scrollTop = view.scrollHeight;
    return document.querySelector(".jump").hidden;
  });
  assert.ok(unbrokenRun(await seqs(ann)));
  await bob.send(room.id, { text: "the last word" });
  await ann.hears("the last word");
  await ann.page.getByText("Reading what came before…").waitFor({ state: "attached" });
  await ann.leave();
});

test("what is written without a connection from an older part is seen at once, and in its place when that is back", async () => {
  const room = await made("Older", 250);
  const way = await Way.to(server.port);
  const ann = await come(room, 20, way.url);
  await ann.page.locator("[data-seq='20'].found").waitFor();
  await jump(ann).waitFor();
  way.cut();
  await ann.page.getByText("You’re offline.").waitFor();
  await ann.say("from the past");
  const seen = () => {
    const view = document.querySelector(".timeline").getBoundingClientRect();
    const row = [...document.querySelectorAll(".row.message")].find((row) => row.textContent.includes("from the past"))?.getBoundingClientRect();
    return !!row && row.top >= view.top && row.bottom <= view.bottom + 1;
  };
  await ann.until("she sees what she wrote", seen);
  // It is tried for so long.
  await ann.page.getByText("The server did not answer in time.").waitFor({ state: "attached" });
  way.mend();
  await ann.hears("from the past");
  await jump(ann).waitFor({ state: "hidden" });
  await ann.until("she sees what she wrote", seen);
  assert.equal(await ann.page.getByText("The server did not answer in time.").count(), 0);
  way.close();
  await ann.leave();
});

test("what one reads stays in view when the phone is turned, and when details are closed", async () => {
  const room = await made("Wrapped", 200, (n) => `${n} ${"some words that are broken into lines ".repeat(2 + n % 9)}`);
  const ann = await come(room);
  for (const at of [0.3, 0.6]) {
    await ann.page.locator(".timeline").evaluate((view, at) => { view.scrollTop = view.scrollHeight * at; }, at);
    await drawn(ann);
    const was = await ann.page.evaluate(first);
    for (const [width, height] of [[420, 800], [800, 420], [420, 800], [1_280, 800]]) {
      await ann.page.setViewportSize({ width, height });
      await drawn(ann);
      await until(`${was} is seen first at ${width} x ${height}`, async () => await ann.page.evaluate(first) === was);
    }
  }
  const was = await ann.page.evaluate(first);
  await ann.page.getByRole("button", { name: "Close details" }).click();
  await ann.page.locator("aside").waitFor({ state: "hidden" });
  await drawn(ann);
  await until(`${was} is seen first without details`, async () => await ann.page.evaluate(first) === was);
  await ann.leave();
});

test("what had the focus and is gone leaves it where one goes on", async () => {
  const room = await made("Focus", 150);
  const ann = await come(room, 20);
  const { page } = ann;
  // What is hidden takes no focus, and says nothing of it.
  await jump(ann).waitFor();
  await jump(ann).focus();
  await page.keyboard.press("Enter");
  await jump(ann).waitFor({ state: "hidden" });
  await ann.until("the conversation has it", () => document.activeElement.ariaLabel === "Conversation");
  await ann.leave();

  const cat = await server.person("Cat");
  const hers = await server.client(cat);
  await hers.join(room.id);
  const her = await Visitor.come(browser, server.url);
  await her.be(cat, `#/r/${room.id}`);
  await her.composer.focus();
  await owner.kick(room.id, cat.id);
  // Not at "Join room": who is writing presses Enter and space.
  await her.until("she is at the room's name", () => document.activeElement.textContent === "Focus");
  await her.page.getByRole("button", { name: "Join room" }).click();
  await her.composer.waitFor();
  await operate("PUT", `bans/${cat.id}`, {});
  await her.page.getByText("You were banned from this server").waitFor();
  await her.until("she may write who she is", () => document.activeElement.name === "email");
  hers.close();
  await her.leave();
});

test("a message is copied without words that are only heard", async () => {
  const room = await made("Copied", 1, () => "just this");
  await owner.send(room.id, { text: "and this" });
  const ann = await come(room);
  await ann.hears("and this");
  const copied = await ann.page.evaluate(() => {
    getSelection().selectAllChildren(document.querySelector(".rows"));
    return String(getSelection());
  });
  assert.match(copied, /just this/);
  assert.doesNotMatch(copied, /Link to|Sent/);
  await ann.page.getByRole("link", { name: /^Link to this message of/ }).first().waitFor({ state: "attached" });
  await ann.page.getByRole("img", { name: "Sent" }).waitFor();
  await ann.leave();
});

test("who just left can't be removed, and that is said of them", async () => {
  const room = await made("Gone", 1);
  const ann = await come(room);
  await ann.page.getByRole("button", { name: "Remove Bob" }).click();
  const dialog = ann.page.getByRole("dialog");
  await bob.leave(room.id);
  await dialog.getByRole("button", { name: "Remove", exact: true }).click();
  await ann.page.getByText("Bob is not a member of this room any more.").waitFor();
  await dialog.waitFor({ state: "detached" });
  await ann.leave();
});

test("after midnight what was said before was said yesterday", async () => {
  const room = await made("Night", 3);
  const { entries: [last] } = await owner.history(room.id, { before: Number.MAX_SAFE_INTEGER, limit: 1 });
  const ann = await Visitor.come(browser, server.url);
  await ann.page.clock.install({ time: new Date(last.at).setUTCHours(23, 59, 30, 0) });
  await ann.be(person, `#/r/${room.id}`);
  await ann.hears("message 3");
  const days = ann.page.locator(".day");
  assert.deepEqual(await days.allInnerTexts(), ["Today"]);
  await ann.page.clock.fastForward(60_000);
  await days.getByText("Yesterday").waitFor();
  assert.deepEqual(await days.allInnerTexts(), ["Yesterday"]);
  await ann.leave();
});
