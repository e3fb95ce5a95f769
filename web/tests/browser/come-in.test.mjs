// Registering, logging in, staying, leaving; and what is said when it does not work.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Hubbub } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";

let browser, server;
before(async () => { [browser, server] = await Promise.all([launch(), Hubbub.start()]); });
after(async () => { await browser?.close(); await server?.stop(); });

const visit = () => Visitor.come(browser, server.url);
const register = async (page, name, email = `${name.toLowerCase()}@example.org`) => {
  await page.getByRole("tab", { name: "Create account" }).click();
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Email").fill(email);
  await page.getByLabel("Password").fill("correct horse");
  await page.getByRole("button", { name: "Create account" }).click();
};

test("somebody registers, is in, stays in after a reload and in another tab, and logs out everywhere", async () => {
  const ann = await visit();
  await ann.page.goto(server.url);
  await register(ann.page, "Ann");
  await ann.page.getByRole("heading", { name: "Rooms", exact: true }).waitFor();
  assert.equal(await ann.page.locator(".me .name").innerText(), "Ann");
  const token = await ann.page.evaluate(() => localStorage.getItem("hubbub.token"));
  assert.ok(token.length > 20);

  await ann.page.reload();
  await ann.page.locator(".me").waitFor();
  const other = await ann.tab();
  await other.goto(server.url);
  await other.locator(".me").waitFor();

  await ann.page.getByRole("button", { name: "Log out" }).click();
  await ann.page.getByRole("tab", { name: "Log in" }).waitFor();
  await other.getByText("You logged out in another tab.").waitFor();
  assert.equal(await ann.page.evaluate(() => localStorage.getItem("hubbub.token")), null);
  // Called back: nobody gets in with it any more.
  const refused = await fetch(`${server.url}/v1/accounts/validate`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal(refused.status, 401);
  assert.ok(!server.log.includes(token));
  assert.deepEqual(ann.complaints, []);
  assert.deepEqual(ann.elsewhere, []);
  await ann.leave();
});

test("a taken address and a wrong password are said kindly, and how to go on", async () => {
  await server.person("Bob");
  const bob = await visit();
  await bob.page.goto(server.url);
  await register(bob.page, "Bob");
  await bob.page.getByRole("alert").getByText("There is an account with bob@example.org already.").waitFor();
  await bob.page.getByRole("button", { name: "Log in instead" }).click();
  assert.equal(await bob.page.getByLabel("Email").inputValue(), "bob@example.org");
  await bob.page.getByLabel("Password").fill("wrong horse");
  await bob.page.getByRole("button", { name: "Log in" }).click();
  await bob.page.getByRole("alert").getByText("don’t belong together").waitFor();
  await bob.page.getByLabel("Password").fill("correct horse");
  await bob.page.getByLabel("Password").press("Enter");
  await bob.page.locator(".me").waitFor();
  // The browser itself notes the two refusals, and nothing else.
  assert.ok(bob.complaints.every((line) => line.includes("the server responded with a status of")), bob.complaints.join());
  await bob.leave();
});

test("a link to a room leads there, also by way of the form, and no token is ever in an address", async () => {
  const carl = await server.person("Carl");
  const client = await server.client(carl);
  const room = await client.create({ name: "Linked" });
  client.close();
  const visitor = await visit();
  const addresses = [];
  visitor.page.on("request", (request) => addresses.push(request.url()));
  visitor.page.on("websocket", (socket) => addresses.push(socket.url()));
  await visitor.page.goto(`${server.url}/#/r/${room.id}`);
  await visitor.page.getByText("You were sent a link to a room.").waitFor();
  await visitor.page.getByLabel("Email").fill(carl.email);
  await visitor.page.getByLabel("Password").fill(carl.password);
  await visitor.page.getByRole("button", { name: "Log in" }).click();
  await visitor.page.getByRole("heading", { name: "Linked" }).waitFor();
  const token = await visitor.page.evaluate(() => localStorage.getItem("hubbub.token"));
  assert.ok(addresses.some((url) => url.startsWith("ws:")));
  assert.ok(addresses.every((url) => !url.includes(token)), addresses.join());
  await visitor.page.goto(`${server.url}/#/r/nowhere`);
  await visitor.page.getByRole("heading", { name: "There is no such room" }).waitFor();
  await visitor.leave();
});

test("who logs out of a room leaves it behind; who comes next begins with all rooms", async () => {
  const [una, vic] = [await server.person("Una"), await server.person("Vic")];
  const client = await server.client(una);
  const room = await client.create({ name: "Left behind" });
  client.close();
  const visitor = await visit();
  await visitor.be(una, `#/r/${room.id}`);
  await visitor.composer.waitFor();
  const other = await visitor.tab();
  await other.goto(`${server.url}/#/r/${room.id}`);
  await other.locator(".composer").waitFor();
  await visitor.page.getByRole("button", { name: "Log out" }).click();
  await other.getByText("You logged out in another tab.").waitFor();
  for (const tab of [visitor.page, other]) {
    await tab.getByText("Rooms for many people at once.").waitFor();
    assert.equal(new URL(tab.url()).hash, "#/");
  }
  await logIn(visitor.page, vic);
  await visitor.page.getByRole("heading", { name: "Rooms", exact: true }).waitFor();
  await visitor.leave();
});

test("a server that is away is said, and tried again", async () => {
  const away = await Hubbub.start();
  const dora = await away.person("Dora");
  const visitor = await Visitor.come(browser, away.url);
  await visitor.page.goto(away.url);
  await visitor.page.getByRole("tab", { name: "Log in" }).waitFor();
  await away.end();
  await visitor.page.getByLabel("Email").fill(dora.email);
  await visitor.page.getByLabel("Password").fill(dora.password);
  await visitor.page.getByRole("button", { name: "Log in" }).click();
  await visitor.page.getByRole("alert").getByText("The server can’t be reached.").waitFor();
  await away.begin();
  await visitor.page.getByRole("button", { name: "Log in" }).click();
  await visitor.page.locator(".me").waitFor();
  await visitor.leave();
  await away.stop();
});

test("a session that has ended asks to log in again, and keeps what was written", async () => {
  const eve = await server.person("Eve");
  const client = await server.client(eve);
  const room = await client.create({ name: "Kept words" });
  client.close();
  const visitor = await visit();
  await visitor.be(eve, `#/r/${room.id}`);
  await visitor.composer.fill("half a sentence");
  const called = await fetch(`${server.url}/v1/accounts/logout`, { method: "POST", headers: { authorization: `Bearer ${eve.token}` } });
  assert.ok(called.ok);
  await visitor.page.getByText("Your session has ended.").waitFor();
  assert.equal(await visitor.page.getByText("You were sent a link").count(), 0);
  await visitor.page.getByLabel("Email").fill(eve.email);
  await visitor.page.getByLabel("Password").fill(eve.password);
  await visitor.page.getByRole("button", { name: "Log in" }).click();
  await visitor.page.getByRole("heading", { name: "Kept words" }).waitFor();
  assert.equal(await visitor.composer.inputValue(), "half a sentence");
  await visitor.leave();
});

const logIn = async (page, person) => {
  await page.getByLabel("Email").fill(person.email);
  await page.getByLabel("Password").fill(person.password);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.locator(".me", { hasText: person.name }).waitFor();
};
const kept = (page) => page.evaluate(() => localStorage.getItem("hubbub.token"));
const valid = async (token) => (await fetch(`${server.url}/v1/accounts/validate`, { headers: { authorization: `Bearer ${token}` } })).ok;

/** Two people, each in a tab of one browser; the browser keeps the session of the second. */
const two = async (first, second) => {
  const visitor = await visit();
  const tabs = [visitor.page, await visitor.tab()];
  for (const tab of tabs) await tab.goto(server.url);
  await logIn(tabs[0], first);
  const token = await kept(tabs[0]);
  await logIn(tabs[1], second);
  return { visitor, tabs, tokens: [token, await kept(tabs[1])] };
};

test("who logs out calls back their own session, and not the one of somebody who came in by another tab", async () => {
  const [gus, hal] = [await server.person("Gus"), await server.person("Hal")];
  const { visitor, tabs, tokens } = await two(gus, hal);
  await tabs[0].getByRole("button", { name: "Log out" }).click();
  await tabs[0].getByRole("tab", { name: "Log in" }).waitFor();
  await until("it is called back", async () => !await valid(tokens[0]));
  assert.ok(await valid(tokens[1]));
  assert.equal(await kept(tabs[1]), tokens[1]);
  assert.ok(await tabs[1].locator(".me", { hasText: "Hal" }).isVisible());
  await visitor.leave();
});

test("a session that has ended leaves that of somebody else in the browser", async () => {
  const [ida, jon] = [await server.person("Ida"), await server.person("Jon")];
  const { visitor, tabs, tokens } = await two(ida, jon);
  await fetch(`${server.url}/v1/accounts/logout`, { method: "POST", headers: { authorization: `Bearer ${tokens[0]}` } });
  await tabs[0].getByText("Your session has ended.").waitFor();
  assert.equal(await kept(tabs[1]), tokens[1]);
  await visitor.leave();
});

test("somebody else who logs out in another tab does not end one's own session", async () => {
  const [kim, lou] = [await server.person("Kim"), await server.person("Lou")];
  const { visitor, tabs, tokens } = await two(kim, lou);
  await tabs[0].evaluate(() => addEventListener("storage", () => { globalThis.heard = true; }));
  await tabs[1].getByRole("button", { name: "Log out" }).click();
  await until("the other tab has heard of it", () => tabs[0].evaluate(() => globalThis.heard));
  assert.ok(await tabs[0].locator(".me", { hasText: "Kim" }).isVisible());
  assert.ok(await valid(tokens[0]));
  await visitor.leave();
});

test("what somebody wrote and did not send is not there for the next one in the same tab", async () => {
  const [mia, ned] = [await server.person("Mia"), await server.person("Ned")];
  const clients = [await server.client(mia), await server.client(ned)];
  const room = await clients[0].create({ name: "Drafts" });
  await clients[1].join(room.id);
  for (const client of clients) client.close();
  const visitor = await visit();
  await visitor.be(mia, `#/r/${room.id}`);
  for (const [who, there, left] of [[mia, "", "dear diary"], [ned, "", "shopping"], [mia, "dear diary"]]) {
    await visitor.page.locator(".me", { hasText: who.name }).waitFor();
    await visitor.room(room.id);
    assert.equal(await visitor.composer.inputValue(), there, who.name);
    if (!left) continue;
    await visitor.composer.fill(left);
    await visitor.page.getByRole("button", { name: "Log out" }).click();
    await logIn(visitor.page, who === mia ? ned : mia);
  }
  await visitor.leave();
});

test("where accounts are of another service a token is asked for", async () => {
  const elsewhere = await Hubbub.start(`--auth-server=${server.url}`);
  const fred = await server.person("Fred");
  const visitor = await Visitor.come(browser, elsewhere.url);
  await visitor.page.goto(elsewhere.url);
  await visitor.page.getByRole("heading", { name: "Come in with a token" }).waitFor();
  assert.equal(await visitor.page.getByLabel("Password").count(), 0);
  await visitor.page.getByLabel("Access token").fill("not a token");
  await visitor.page.getByRole("button", { name: "Come in" }).click();
  await visitor.page.getByText("Your session has ended.").waitFor();
  await visitor.page.getByLabel("Access token").fill(fred.token);
  await visitor.page.getByRole("button", { name: "Come in" }).click();
  await visitor.page.locator(".me").waitFor();
  assert.equal(await visitor.page.locator(".me .name").innerText(), "Fred");
  await visitor.leave();
  await elsewhere.stop();
});
