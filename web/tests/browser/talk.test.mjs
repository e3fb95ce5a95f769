// Two people in two browsers: rooms, and all that is said in them.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Hubbub, PNG } from "../lib/server.mjs";
import { until } from "../lib/until.mjs";

let browser, server, ann, bob, lobby;
const people = {};

before(async () => {
  [browser, server] = await Promise.all([launch(), Hubbub.start()]);
  [people.ann, people.bob] = [await server.person("Ann"), await server.person("Bob")];
  [ann, bob] = [await Visitor.come(browser, server.url), await Visitor.come(browser, server.url)];
  await ann.be(people.ann);
  await bob.be(people.bob);
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

test("a room is made, appears where others look, is found and joined", async () => {
  await ann.page.getByText("There is no room yet.").waitFor();
  await bob.page.getByText("There is no room yet.").waitFor();
  await ann.page.getByRole("button", { name: "New room" }).first().click();
  const dialog = ann.page.getByRole("dialog");
  await dialog.getByLabel("Name").fill("The lobby");
  await dialog.getByLabel("Topic").fill("Whatever there is");
  await dialog.getByRole("button", { name: "Create room" }).click();
  await ann.page.getByRole("heading", { name: "The lobby" }).waitFor();
  lobby = new URL(ann.page.url()).hash.split("/")[2];

  await bob.page.locator(".card-row", { hasText: "The lobby" }).getByText("1 member").waitFor();
  await bob.page.getByLabel("Search all rooms").fill("nothing like it");
  await bob.page.getByText("No room has that in its name or topic.").waitFor();
  await bob.page.getByLabel("Search all rooms").fill("WHATEVER");
  await bob.page.getByRole("button", { name: "Join The lobby" }).click();
  await bob.page.getByRole("heading", { name: "The lobby" }).waitFor();
  await ann.page.getByText("Bob joined").waitFor();
  await ann.page.locator(".under", { hasText: "2 members, 2 online" }).waitFor();
  await bob.page.locator(".sidebar").getByRole("link", { name: "The lobby" }).waitFor();
});

test("what is said is seen by both in one order, and marked as sent", async () => {
  await ann.say("Hello, Bob");
  await bob.hears("Hello, Bob");
  await bob.say("Hello, Ann");
  await ann.hears("Hello, Ann");
  await Promise.all([ann, bob].map(async (who) => { for (const n of [1, 2, 3]) await who.say(`${n} at once`); }));
  for (const who of [ann, bob]) await who.until("all have all", () => document.querySelectorAll(".rows:not(.drafts) .text").length === 8);
  assert.deepEqual(await ann.texts(), await bob.texts());
  assert.equal((await ann.texts()).filter((text) => text.endsWith("at once")).length, 6);
  assert.equal(await ann.page.locator(".mine[title=Sent]").count(), 4);
  assert.equal(await ann.page.locator(".drafts .message").count(), 0);
});

test("who writes is shown, and that they have stopped", async () => {
  // The server passes it on once a second at most, and he has just said something: he goes on writing until it is seen.
  await until("it is seen that he writes", async () => {
    await bob.composer.pressSequentially("h");
    return ann.page.getByText("Bob is writing…").isVisible();
  });
  await bob.say("I have thought");
  await ann.page.locator(".writing:not(.on)").waitFor();
});

test("lines of one message stay lines; one author's messages stand together under a day", async () => {
  await ann.composer.fill("");
  await ann.composer.pressSequentially("first");
  await ann.composer.press("Shift+Enter");
  await ann.composer.pressSequentially("second");
  await ann.composer.press("Enter");
  await ann.say("third");
  await bob.hears("third");
  assert.ok((await bob.texts()).includes("first\nsecond"));
  assert.match(await bob.page.locator(".row.message").last().getAttribute("class"), /joined-to/);
  assert.deepEqual(await bob.page.locator(".day").allInnerTexts(), ["Today"]);
});

test("addresses become links that tell nobody where they were followed from; other schemes do not", async () => {
  await ann.say("see https://example.org/a?b=1#c, and (http://example.org/d).");
  await ann.say("javascript:alert(1) data:text/html,x https://user:pass@example.org file:///etc");
  await bob.hears("javascript:alert(1)");
  const links = bob.page.locator(".text a");
  assert.deepEqual(await links.evaluateAll((all) => all.map((a) => a.href)), ["https://example.org/a?b=1#c", "http://example.org/d"]);
  assert.match(await links.first().getAttribute("rel"), /noopener noreferrer/);
});

const HOSTILE = [
  "<img src=x onerror=\"document.title='owned'\">",
  "<script>document.title='owned'</script>",
  "</p></li></ol><h1>owned</h1>",
  "{{constructor.constructor('document.title=1')()}} ${document.title} &lt;b&gt;",
  "\u202Eyb deyalpsid\u202C and \u2066isolated\u2069",
  "שלום עולם — مرحبا بالعالم — hello",
  "Z\u0351\u036b\u0343\u036a\u0302a\u0334\u0315l\u0321\u0354g\u0348\u033bo\u0323".repeat(20),
  "\u0000null".slice(1) + "\u200b\ufeff",
  "x".repeat(4_000),
];

test("hostile texts are texts", async () => {
  for (const text of HOSTILE) await ann.say(text);
  await bob.hears("x".repeat(4_000));
  const shown = await bob.texts();
  for (const text of HOSTILE) assert.ok(shown.includes(text.trim()), text.slice(0, 40));
  for (const who of [ann, bob]) {
    assert.equal(await who.page.locator(".text img, .text script, .timeline h1").count(), 0);
    assert.ok(!(await who.page.title()).includes("owned"));
    const wide = await who.page.evaluate(() => document.querySelector(".timeline").scrollWidth - document.querySelector(".timeline").clientWidth);
    assert.equal(wide, 0, "nothing makes the room wider than it is");
  }
});

test("a name with a turn of direction ends with its name", async () => {
  const eve = await server.person("\u202Eeve", "eve@example.org");
  const client = await server.client(eve).catch((error) => error);
  const there = typeof client.join === "function";
  assert.ok(there, String(client));
  await client.join(lobby);
  await client.send(lobby, { text: "left to right" });
  await ann.hears("left to right");
  const name = ann.page.locator(".who bdi", { hasText: "eve" }).first();
  assert.equal(await name.evaluate((bdi) => getComputedStyle(bdi).unicodeBidi), "isolate");
  await client.leave(lobby);
  client.close();
});

test("4,096 emoji are sent; one more is said before it is sent", async () => {
  const most = "🫧".repeat(4_096);
  await ann.say(most);
  await bob.hears("🫧🫧🫧");
  assert.ok((await bob.texts()).includes(most));
  await ann.composer.fill(`${most}🫧`);
  await ann.page.getByText("1 character too many: a message has up to 4,096.").waitFor();
  assert.ok(await ann.page.getByRole("button", { name: "Send", exact: true }).isDisabled());
  await ann.composer.press("Enter");
  assert.equal(await ann.page.locator(".drafts .message").count(), 0);
  await ann.composer.fill("a".repeat(4_090));
  await ann.page.getByText("6 characters left").waitFor();
  await ann.composer.fill("🎉");
  await ann.composer.press("Enter");
  await bob.page.locator(".text.jumbo", { hasText: "🎉" }).waitFor();
});

const drop = (visitor, on, event, file) => visitor.page.locator(on).evaluate((element, [event, file]) => {
  const bytes = Uint8Array.from(atob(file.base64), (char) => char.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], "picture", { type: file.type }));
  const init = { bubbles: true, cancelable: true };
  const made = event === "paste" ? new ClipboardEvent(event, { ...init, clipboardData: data }) : new DragEvent(event, { ...init, dataTransfer: data });
  element.dispatchEvent(made);
  return made.defaultPrevented;
}, [event, file]);

test("a picture is pasted, looked at, sent and shown; another is dropped; what is no picture is refused in words", async () => {
  const png = { type: "image/png", base64: PNG.split(",")[1] };
  await drop(ann, ".composer textarea", "paste", png);
  await ann.page.getByAltText("The picture that you are about to send").waitFor();
  await ann.page.getByRole("button", { name: "Remove the picture" }).click();
  await drop(ann, ".composer textarea", "paste", png);
  await ann.page.getByRole("button", { name: "Send", exact: true }).click();
  const image = bob.page.getByAltText("Picture from Ann").first();
  await image.waitFor();
  assert.deepEqual(await image.evaluate((img) => [img.width, img.height, img.src.slice(0, 22)]), [2, 2, "data:image/png;base64,"]);

  await drop(bob, ".room-main", "drop", png);
  await bob.page.getByRole("button", { name: "Send", exact: true }).click();
  await ann.page.getByAltText("Picture from Bob").waitFor();
  await ann.page.getByRole("button", { name: "Picture from Bob: show it large" }).click();
  await ann.page.getByRole("dialog", { name: "Picture from Bob" }).waitFor();
  await ann.page.keyboard.press("Escape");

  await drop(ann, ".composer textarea", "paste", { type: "image/svg+xml", base64: btoa("<svg") });
  await ann.page.getByText("That is no picture that can be shown here").waitFor();
});

test("what is no picture is not sent, wherever it falls, and never opened in place of the page", async () => {
  const pdf = { type: "application/pdf", base64: btoa("%PDF") };
  const told = ann.page.locator(".toast", { hasText: "Only pictures can be sent." });
  for (const [on, event] of [[".room-main", "drop"], [".composer textarea", "paste"]]) {
    assert.ok(await drop(ann, on, event, pdf), `${event} is not left to the browser`);
    await told.waitFor();
    await ann.page.evaluate(() => document.querySelector(".toasts").replaceChildren());
  }
  await ann.page.locator("input[type=file]").setInputFiles({ name: "a.pdf", mimeType: pdf.type, buffer: Buffer.from("%PDF") });
  await told.waitFor();
  assert.ok(await drop(ann, ".sidebar", "drop", pdf));
  assert.ok(await ann.page.locator(".preview").isHidden());
  const stranger = await Visitor.come(browser, server.url);
  await stranger.be(await server.person("Stranger"), `#/r/${lobby}`);
  await stranger.page.getByText("You are looking in from outside.").waitFor();
  assert.ok(await drop(stranger, ".room-main", "drop", pdf));
  await stranger.page.getByText("Join the room to send a picture.").waitFor();
  await stranger.leave();
});

test("a picture that is too large is made smaller", async () => {
  await ann.page.evaluate(async () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1_400, height: 1_000 });
    const context = canvas.getContext("2d");
    const noise = context.createImageData(1_400, 1_000);
    for (let i = 0; i < noise.data.length; i += 65_536) crypto.getRandomValues(noise.data.subarray(i, i + 65_536));
    context.putImageData(noise, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    if (blob.size < 400_000) throw new Error(`only ${blob.size}`);
    const data = new DataTransfer();
    data.items.add(new File([blob], "noise.png", { type: "image/png" }));
    document.querySelector(".composer textarea").dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
  });
  await ann.page.getByAltText("The picture that you are about to send").waitFor();
  await ann.page.getByRole("button", { name: "Send", exact: true }).click();
  await bob.page.locator(".timeline img[src^='data:image/webp']").waitFor();
  const wide = await bob.page.locator(".timeline img[src^='data:image/webp']").evaluate((img) => img.getBoundingClientRect().width);
  assert.ok(wide <= 360, `${wide}`);
});

test("what calls itself a picture and does not say how large it is, is not opened", async () => {
  // A bitmap, which a browser would show whatever it is called.
  const bitmap = Buffer.alloc(58);
  bitmap.write("BM");
  for (const [at, number] of [[2, 58], [10, 54], [14, 40], [18, 1], [22, 1]]) bitmap.writeUInt32LE(number, at);
  for (const [at, number] of [[26, 1], [28, 24]]) bitmap.writeUInt16LE(number, at);
  const client = await server.client(people.bob);
  await client.send(lobby, { image: `data:image/png;base64,${bitmap.toString("base64")}` });
  await client.send(lobby, { text: "after the bitmap" });
  client.close();
  await ann.hears("after the bitmap");
  await ann.page.locator(".timeline").getByText("A picture that can’t be shown.").waitFor();
});

test("what is said elsewhere is counted as unread, until one looks", async () => {
  const client = await server.client(people.ann);
  const other = await client.create({ name: "Garden" });
  client.close();
  await bob.room(other.id);
  await bob.page.getByText("You are looking in from outside.").waitFor();
  await bob.page.getByRole("button", { name: "Join room" }).click();
  await bob.composer.waitFor();
  await bob.room(lobby);
  await ann.room(other.id);
  for (const text of ["one", "two", "three"]) await ann.say(text);
  const link = bob.page.locator(".sidebar").getByRole("link", { name: /Garden/ });
  await bob.page.locator(".sidebar .room-link.unread .count", { hasText: "3" }).waitFor();
  await bob.until("the title counts it", () => document.title.startsWith("(3) "));
  await bob.page.reload();
  await bob.page.locator(".sidebar .room-link.unread .count", { hasText: "3" }).waitFor();
  await link.click();
  await bob.page.locator(".new-mark").waitFor();
  await bob.page.locator(".sidebar .room-link:not(.unread)", { hasText: "Garden" }).waitFor();
});

test("a topic is set, someone is removed, someone leaves: all see it", async () => {
  await ann.page.getByRole("button", { name: "Set a topic" }).click();
  await ann.page.getByRole("dialog").getByLabel("Topic").fill("Beans");
  await ann.page.getByRole("dialog").getByRole("button", { name: "Save" }).click();
  await bob.page.locator(".under", { hasText: "Beans" }).waitFor();
  await ann.page.getByRole("button", { name: "Remove Bob" }).click();
  await ann.page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
  await bob.page.getByRole("button", { name: "Join room" }).waitFor();
  // The server says who went by their id.
  await ann.page.locator(".event-words", { hasText: "Ann removed Bob" }).waitFor();
  await bob.page.locator(".event-words", { hasText: "Ann removed you from this room" }).waitFor();
  await bob.page.locator(".toast", { hasText: "Ann removed you from Garden" }).waitFor();
  await bob.page.getByRole("button", { name: "Join room" }).click();
  await bob.composer.waitFor();
  await bob.page.getByRole("button", { name: "Leave room" }).click();
  await bob.page.getByRole("dialog").getByRole("button", { name: "Leave room" }).click();
  await bob.page.getByRole("heading", { name: "Rooms", exact: true }).waitFor();
  await ann.page.getByText("Bob left").waitFor();
});

test("a command is not said in the room; its refusal is told to its writer alone", async () => {
  await ann.room(lobby);
  await ann.say("/nonsense");
  await ann.page.locator(".notice", { hasText: "Only you see this." }).waitFor();
  await ann.say("after it");
  await ann.hears("after it");
  assert.ok(!(await ann.texts()).includes("/nonsense"));
});

test("commands of bots are completed by keys, and answered in the room", async () => {
  const visitor = await Visitor.come(browser, server.url);
  await visitor.be(people.bob, `#/r/${lobby}`);
  await visitor.composer.pressSequentially("/");
  await visitor.page.getByRole("option").nth(1).waitFor();
  await visitor.composer.press("ArrowDown");
  assert.equal(await visitor.page.getByRole("option", { selected: true }).innerText().then((text) => text.split("\n")[0]), "/stock=CODE");
  await visitor.composer.press("ArrowUp");
  await visitor.composer.press("Tab");
  assert.equal(await visitor.composer.inputValue(), "/hello=");
  await visitor.page.getByRole("option").waitFor();
  await visitor.composer.press("Escape");
  assert.equal(await visitor.page.getByRole("option").count(), 0);
  assert.ok(await visitor.page.locator("aside").isVisible(), "what else Escape closes stays");
  await visitor.composer.fill("/stock=AAPL=X");
  await visitor.page.getByRole("option").waitFor();
  await visitor.composer.press("Tab");
  assert.equal(await visitor.composer.inputValue(), "/stock=AAPL=X");
  await visitor.until("there was nothing to complete, so Tab leads on", () => document.activeElement.tagName !== "TEXTAREA");
  await visitor.composer.fill("/hello=");
  await visitor.composer.pressSequentially("Bob");
  await visitor.composer.press("Enter");
  await visitor.hears("Hello Bob!");
  await ann.hears("Hello Bob!");
  await visitor.leave();
});

test("keys lead from room to room, to the filter, and out of what lies over the room", async () => {
  await ann.page.keyboard.press("Alt+ArrowDown");
  await ann.page.getByRole("heading", { name: "Garden" }).waitFor();
  await ann.page.keyboard.press("Alt+ArrowUp");
  await ann.page.getByRole("heading", { name: "The lobby" }).waitFor();
  await ann.page.keyboard.press("Control+k");
  await ann.page.keyboard.type("gard");
  assert.deepEqual(await ann.page.locator(".room-list .room-name").allInnerTexts(), ["Garden"]);
  await ann.page.locator("aside").waitFor();
  await ann.page.keyboard.press("Escape");
  await ann.page.locator("aside").waitFor({ state: "hidden" });
});

test("rooms that are made by the hundred are drawn once a frame", async () => {
  const eve = await Visitor.come(browser, server.url);
  await eve.be(people.bob, "#/rooms");
  await eve.page.locator(".card-link").first().waitFor();
  await eve.page.evaluate(() => {
    globalThis.seen = { frames: 0, drawings: 0 };
    const frame = () => {
      seen.frames += 1;
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
    new MutationObserver(() => { seen.drawings += 1; }).observe(document.querySelector(".cards"), { childList: true });
  });
  for (const person of [people.ann, people.bob, await server.person("Dan")]) {
    const client = await server.client(person);
    await Promise.all(Array.from({ length: 700 }, (_, n) => client.create({ name: `One of many, ${n}` })));
    client.close();
  }
  await until("as many as are shown at once", async () => await eve.page.locator(".card-link").count() === 100);
  const { frames, drawings } = await eve.page.evaluate(() => seen);
  assert.ok(drawings <= frames + 1, `${drawings} drawings in ${frames} frames`);
  // A search looks through those that are here, to the end.
  await eve.page.getByLabel("Search all rooms").fill("one of many");
  const listed = await eve.page.getByRole("button", { name: "Show more" }).evaluate(async (more) => {
    for (; !more.hidden; await new Promise(requestAnimationFrame)) more.click();
    return document.querySelectorAll(".card-link").length;
  });
  assert.ok(listed > 1_900 && listed <= 2_000, `${listed} rooms`);
  await eve.context.close();
});

test("nobody complained, and nothing was asked elsewhere", () => {
  assert.deepEqual([...ann.complaints, ...bob.complaints], []);
  assert.deepEqual([...ann.elsewhere, ...bob.elsewhere], []);
});
