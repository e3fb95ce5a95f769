// An operator erases what somebody wrote, while others look at it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { freePort, Hubbub } from "../lib/server.mjs";

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
