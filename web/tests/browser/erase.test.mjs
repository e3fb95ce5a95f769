// An operator erases what somebody wrote, while others look at it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { freePort, Hubbub } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";
import { Wire } from "../lib/wire.mjs";

const SECRET = "x".repeat(32);
let browser, server, adminPort;

before(async () => {
  adminPort = await freePort();
  [browser, server] = await Promise.all([launch(), Hubbub.start(`--admin-token=ops.${SECRET}`, `--admin-port=${adminPort}`)]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function erase(room, user) {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/v1/admin/rooms/${room}/erasures`, {
    method: "POST", headers: { authorization: `Bearer ops.${SECRET}`, "content-type": "application/json" }, body: JSON.stringify({ user }),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

test("the page blanks what is erased at once, and whoever comes later never sees it", async () => {
  const [ann, bob] = [await server.person("Ann"), await server.person("Bob")];
  const client = await server.client(bob);
  const room = await client.create({ name: "The lobby" });
  for (const n of [1, 2]) await client.send(room.id, { text: `${n} that must not be there` });
  const her = await Visitor.come(browser, server.url);
  await her.be(ann);
  const hers = await server.client(ann);
  await hers.join(room.id);
  await her.room(room.id);
  await her.hears("2 that must not be there");
  const { erased } = await erase(room.id, client.welcome.user.id);
  assert.equal(erased, 2);
  const shown = () => document.querySelectorAll(".rows:not(.drafts) .text.soft").length === 2;
  for (const time of ["as it comes", "after a reload"]) {
    await her.until(`it is blank ${time}`, shown);
    assert.equal(await her.page.getByText("that must not be there").count(), 0, time);
    await her.page.getByText("erased what").waitFor();
    await her.page.reload();
  }
  for (const one of [client, hers]) one.close();
});

test("an erasure that was not sent is obeyed when it is read", async () => {
  const [cat, dan] = [await server.person("Cat"), await server.person("Dan")];
  const client = await server.client(dan);
  const room = await client.create({ name: "Behind" });
  for (let n = 1; n <= 60; n += 1) await client.send(room.id, { text: `${n} by Dan` });
  const hers = await server.client(cat);
  await hers.join(room.id);
  const her = await Visitor.come(browser, server.url);
  const wire = await Wire.of(her.page);
  await her.be(cat, `#/r/${room.id}`);
  await her.hears("60 by Dan");
  await her.page.locator(".timeline").focus();
  await her.page.keyboard.press("Home");
  await her.page.locator(".jump").waitFor();
  // It comes as to one who reads too slowly.
  let head;
  wire.rule = (said) => {
    if (said.type !== "erase") return said;
    head = said.seq;
    return { type: "behind", room: room.id, after: head - 1, head };
  };
  await erase(room.id, client.welcome.user.id);
  await until("it was not sent", () => head);
  await her.page.locator(".timeline").evaluate((view) => { view.scrollTop = view.scrollHeight; });
  await her.page.getByText("erased what").waitFor();
  assert.equal(await her.page.getByText("by Dan").count(), 0);
  for (const one of [client, hers]) one.close();
});
