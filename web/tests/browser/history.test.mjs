// A room of 100,000 entries: read to its start with a bounded page, and found one's way in.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { fill, freePort, Hubbub } from "../lib/server.mjs";

const ENTRIES = 100_000;
const ROWS_MAX = 420;
const NODES_MAX = 15_000;
const HEAP_MAX = 24 * 1024 * 1024;

const SECRET = "x".repeat(32);

let browser, server, adminPort, ann, room, person;

before(async () => {
  // So many at once are not a person's pace.
  adminPort = await freePort();
  [browser, server] = await Promise.all([launch(), Hubbub.start("--sends-per-second=1000000", "--reads-per-second=100000", "--commit-pace=1ms",
    `--admin-token=ops.${SECRET}`, `--admin-port=${adminPort}`)]);
  person = await server.person("Ann");
  const writers = await Promise.all(["Bob", "Cat", "Dan", "Eli"].map((name) => server.person(name)));
  const client = await server.client(person);
  room = await client.create({ name: "Long" });
  const began = Date.now();
  const each = Math.floor((ENTRIES - 1 - writers.length) / writers.length);
  await Promise.all(writers.map(async (writer) => {
    const talking = await server.client(writer);
    await talking.join(room.id);
    await fill(talking, room.id, each);
    talking.close();
  }));
  await fill(client, room.id, ENTRIES - 1 - writers.length - each * writers.length);
  client.close();
  console.log(`# ${ENTRIES} entries written in ${Math.round((Date.now() - began) / 1_000)} s`);
  ann = await Visitor.come(browser, server.url);
  await ann.be(person, `#/r/${room.id}`);
  await ann.composer.waitFor();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

async function operate(method, what, body) {
  const answer = await fetch(`http://127.0.0.1:${adminPort}/v1/admin/rooms/${room.id}/${what}`, {
    method, headers: { authorization: `Bearer ops.${SECRET}`, "content-type": "application/json" }, body: body && JSON.stringify(body),
  });
  assert.equal(answer.status, 200, await answer.clone().text());
  return answer.json();
}

const seqs = () => ann.page.locator(".rows:not(.drafts) > .row").evaluateAll((rows) => rows.map((row) => Number(row.dataset.seq)));
const unbrokenRun = (list) => list.every((seq, at) => at === 0 || seq === list[at - 1] + 1);

/** The row at the top of what is seen, and where. */
const looking = () => ann.page.evaluate(() => {
  const top = document.querySelector(".timeline").getBoundingClientRect().top;
  const row = [...document.querySelectorAll(".rows:not(.drafts) > .row")].find((row) => row.getBoundingClientRect().bottom > top + 1);
  return { seq: Number(row.dataset.seq), y: row.getBoundingClientRect().bottom - top };
});

async function cost() {
  const session = await ann.context.newCDPSession(ann.page);
  await session.send("Performance.enable");
  await session.send("HeapProfiler.collectGarbage");
  const { metrics } = await session.send("Performance.getMetrics");
  await session.detach();
  return Object.fromEntries(metrics.map(({ name, value }) => [name, value]));
}

test("older entries come in above while what one looks at stays where it is", async () => {
  assert.equal((await seqs()).at(-1), ENTRIES);
  for (let i = 0; i < 5; i += 1) {
    const before = (await seqs())[0];
    // Up, but not to the edge: there is something to look at meanwhile.
    const seen = await ann.page.evaluate(() => {
      const view = document.querySelector(".timeline");
      view.scrollTop = Math.min(view.scrollTop, 300);
      const top = view.getBoundingClientRect().top;
      const row = [...document.querySelectorAll(".rows:not(.drafts) > .row")].find((row) => row.getBoundingClientRect().bottom > top + 1);
      return { seq: row.dataset.seq, y: row.getBoundingClientRect().bottom };
    });
    for (let first = before; first >= before;) first = (await seqs())[0];
    const now = await ann.page.evaluate((seq) => document.querySelector(`[data-seq="${seq}"]`).getBoundingClientRect().bottom, seen.seq);
    assert.ok(Math.abs(now - seen.y) <= 1, `moved by ${now - seen.y} px`);
    assert.ok(unbrokenRun(await seqs()));
  }
});

test("it is scrolled to its first entry, and the page stays small", async () => {
  const began = Date.now();
  const steps = await ann.page.evaluate(async (rowsMax) => {
    const view = document.querySelector(".timeline");
    let steps = 0;
    let last = Infinity;
    for (;;) {
      const rows = document.querySelectorAll(".rows:not(.drafts) > .row");
      if (rows.length > rowsMax) throw new Error(`${rows.length} rows`);
      const first = Number(rows[0].dataset.seq);
      if (first > last) throw new Error(`went down from ${last} to ${first}`);
      if (first === 1) return steps;
      last = first;
      steps += 1;
      const grown = new Promise((done) => {
        const observer = new MutationObserver(() => (observer.disconnect(), done()));
        observer.observe(document.querySelector(".rows"), { childList: true });
      });
      view.scrollTop = 0;
      await grown;
    }
  }, ROWS_MAX);
  const { JSHeapUsedSize, Nodes } = await cost();
  console.log(`# ${steps} reads to the start in ${Math.round((Date.now() - began) / 1_000)} s; heap ${(JSHeapUsedSize / 2 ** 20).toFixed(1)} MiB, ${Nodes} nodes`);
  assert.ok(JSHeapUsedSize < HEAP_MAX, `${JSHeapUsedSize} bytes of heap`);
  assert.ok(Nodes < NODES_MAX, `${Nodes} nodes`);
  await ann.page.getByText("This is where it began.").waitFor();
  assert.ok(unbrokenRun(await seqs()));
});

test("scrolled down again it goes on, without a gap", async () => {
  const before = (await seqs()).at(-1);
  for (let last = before; last <= before + 300;) {
    await ann.page.evaluate(() => { const view = document.querySelector(".timeline"); view.scrollTop = view.scrollHeight; });
    last = (await seqs()).at(-1);
  }
  assert.ok(unbrokenRun(await seqs()));
  assert.ok((await seqs()).length <= ROWS_MAX);
});

test("what came meanwhile is counted, and one press leads to it", async () => {
  const client = await server.client(await server.person("Fay"));
  await client.join(room.id);
  const seen = await looking();
  for (const text of ["new one", "new two"]) await client.send(room.id, { text });
  client.close();
  await ann.page.getByRole("button", { name: "2 new messages" }).waitFor();
  assert.deepEqual((await looking()).seq, seen.seq, "it did not move");
  await ann.page.getByRole("button", { name: "2 new messages" }).click();
  await ann.hears("new two");
  await ann.page.locator(".jump").waitFor({ state: "hidden" });
  assert.ok(unbrokenRun(await seqs()));
});

test("a message has a link, which leads to it and its surroundings", async () => {
  const row = ann.page.locator(".row.message").last();
  const seq = await row.getAttribute("data-seq");
  await row.hover();
  await row.locator("a.permalink").click();
  await ann.page.getByText("Link to the message copied").waitFor();
  const copied = await ann.page.evaluate(() => navigator.clipboard.readText());
  assert.equal(copied, `${server.url}/#/r/${room.id}/${seq}`);

  await ann.page.goto(`${server.url}/#/r/${room.id}/50000`);
  await ann.page.locator("[data-seq='50000'].found").waitFor();
  const { y, height } = await ann.page.locator("[data-seq='50000']").boundingBox();
  assert.ok(y > 60 && y + height < 800, `${y}`);
  assert.ok(unbrokenRun(await seqs()));
  await ann.page.getByRole("button", { name: "Newest" }).waitFor();
});

test("keys lead to the start and to the end", async () => {
  await ann.page.locator(".timeline").focus();
  await ann.page.keyboard.press("Home");
  await ann.page.getByText("This is where it began.").waitFor();
  assert.equal((await looking()).seq, 1);
  await ann.page.keyboard.press("End");
  await ann.hears("new two");
});

test("what is not kept any more is not looked for, and what is left goes on", async () => {
  // She looks at the log's start, which goes.
  await ann.page.locator(".timeline").focus();
  await ann.page.keyboard.press("Home");
  await ann.page.getByText("This is where it began.").waitFor();
  await operate("PUT", "retention", { entries: 50_000 });
  for (let more = true; more;) ({ more } = await operate("POST", "trims", { fully: true }));
  // What follows what she sees is gone: the next that she is shown is where the log begins now.
  const first = ENTRIES + 3 + 2 + 1 - 50_000;
  await ann.until("she is where it goes on", (first) => {
    const view = document.querySelector(".timeline");
    view.scrollTop = view.scrollHeight;
    return [...document.querySelectorAll(".rows:not(.drafts) > .row")].some((row) => Number(row.dataset.seq) === first);
  }, first);
  assert.ok(unbrokenRun(await seqs()));
  await ann.page.keyboard.press("Home");
  await ann.page.getByText("What came before is not kept.").waitFor();
  assert.equal((await looking()).seq, first);
  await ann.page.keyboard.press("End");
  await ann.page.getByText("Of the messages the newest 50,000 are kept. Older ones are gone.").waitFor();
  // Without the link to a message that was looked at before.
  await ann.page.goto(`${server.url}/#/r/${room.id}`);
  await ann.page.reload();
  await ann.page.getByText("Of the messages the newest 50,000 are kept. Older ones are gone.").waitFor();
  assert.ok(unbrokenRun(await seqs()));
});

test("a link to a message that is not kept any more leads to where the log begins, and says so", async () => {
  await ann.page.goto(`${server.url}/#/r/${room.id}/7`);
  await ann.page.locator(".toast", { hasText: "That message is not kept any more" }).waitFor();
  await ann.page.getByText("What came before is not kept.").waitFor();
  assert.equal((await looking()).seq, (await seqs())[0]);
  await ann.page.getByRole("button", { name: "Newest" }).click();
  await ann.page.getByText("Of the messages the newest 50,000 are kept. Older ones are gone.").waitFor();
  await ann.page.locator(".jump").waitFor({ state: "hidden" });
});

test("nobody complained", () => assert.deepEqual(ann.complaints, []));
