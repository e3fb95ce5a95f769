// The parts of the page that need no page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { PNG } from "../lib/server.mjs";
import { module } from "../lib/module.mjs";

const { pieces, isJumbo } = await module("rich-text.ts");
const { pictureSize } = await module("picture-size.ts");
const { LogWindow, ENTRIES_MAX } = await module("log-window.ts");
const { Reading, rate, quantile } = await module("metrics.ts");
const { route, href } = await module("route.ts");
const { matching } = await module("commands.ts");
const { day, characters } = await module("format.ts");

test("addresses are found without what belongs to the sentence, and only those that may be followed", () => {
  const links = (text) => pieces(text).filter((piece) => typeof piece !== "string").map(({ text }) => text);
  const cases = {
    "https://a.example/x, and more": ["https://a.example/x"],
    "(see http://a.example/x_(y))!": ["http://a.example/x_(y)"],
    "HTTPS://A.EXAMPLE": ["HTTPS://A.EXAMPLE"],
    "https://a.example/?q=[1]. https://b.example…": ["https://a.example/?q=[1]", "https://b.example"],
    "javascript:alert(1) ftp://x data:text/html,1 //x.example www.x.example": [],
    "https://user@evil.example https://user:pw@evil.example": [],
    "http:// https://": [],
    // What comes after a turn of direction is no part of what is followed.
    "https://a.example/\u202egpj.exe": ["https://a.example/"],
    "https://a.example/\"onclick=x": ["https://a.example/"],
    "https://münchen.example/straße": ["https://münchen.example/straße"],
  };
  for (const [text, expected] of Object.entries(cases)) {
    assert.deepEqual(links(text), expected, text);
    assert.equal(pieces(text).map((piece) => piece.text ?? piece).join(""), text, "nothing is lost");
  }
});

test("one to three emoji alone are large", () => {
  for (const yes of ["🎉", "👩‍👩‍👧‍👦 🇩🇪", " 👍🏽👍🏽👍🏽 ", "❤️"]) assert.ok(isJumbo(yes), yes);
  for (const no of ["", "a", "🎉!", "🎉🎉🎉🎉", "12", "#"]) assert.ok(!isJumbo(no), no);
});

const url = (type, bytes) => `data:image/${type};base64,${Buffer.from(bytes).toString("base64")}`;

test("pictures say their size; what says none, or nonsense, has none", () => {
  assert.deepEqual(pictureSize(PNG), { width: 2, height: 2 });
  assert.deepEqual(pictureSize(url("gif", [...Buffer.from("GIF89a"), 3, 1, 2, 0, 0, 0, 0])), { width: 259, height: 2 });
  const jpeg = [0xff, 0xd8, 0xff, 0xe0, 0, 4, 1, 2, 0xff, 0xc4, 0, 3, 9, 0xff, 0xc2, 0, 11, 8, 0, 100, 1, 0, 3, 0, 0, 0];
  assert.deepEqual(pictureSize(url("jpeg", jpeg)), { width: 256, height: 100 });
  const riff = (kind, rest) => url("webp", [...Buffer.from("RIFF\0\0\0\0WEBP"), ...Buffer.from(kind), 0, 0, 0, 0, ...rest]);
  assert.deepEqual(pictureSize(riff("VP8X", [0, 0, 0, 0, 9, 1, 0, 4, 0, 0])), { width: 266, height: 5 });
  assert.deepEqual(pictureSize(riff("VP8 ", [0, 0, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xf0, 0])), { width: 320, height: 240 });
  assert.deepEqual(pictureSize(riff("VP8L", [0x2f, 9, 0x40, 0, 0])), { width: 10, height: 2 });
  const preview = Array.from({ length: 2 }, () => [0xff, 0xe1, 0xff, 0xff, ...new Uint8Array(65_533)]).flat();
  assert.deepEqual(pictureSize(url("jpeg", [0xff, 0xd8, ...preview, ...jpeg.slice(2)])), { width: 256, height: 100 }, "behind a long preview");
  const png = (width, height) => url("png", [...Buffer.from(PNG.split(",")[1], "base64").subarray(0, 16), ...u32(width), ...u32(height)]);
  const u32 = (number) => [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];
  assert.deepEqual(pictureSize(png(8_000, 5_000)), { width: 8_000, height: 5_000 });
  assert.equal(pictureSize(png(8_000, 5_001)), undefined, "nobody has the memory for it");
  assert.equal(pictureSize(png(0xffffffff, 1)), undefined);
  for (const bad of ["", "data:image/png;base64,", "data:image/png;base64,%%%", url("jpeg", [0xff, 0xd8, 0xff]), url("png", new Uint8Array(40))]) {
    assert.equal(pictureSize(bad), undefined);
  }
});

const entries = (from, to, more = {}) => Array.from({ length: to - from + 1 }, (_, at) => ({ type: "join", seq: from + at, ...more }));
const run = (window) => window.entries.every(({ seq }, at) => seq === window.first + at);

test("the window of a log is bounded at both ends, and has no gap", () => {
  const window = new LogWindow();
  window.show(entries(901, 1000), true);
  for (let from = 801; from >= 1; from -= 100) window.before(entries(from, from + 99));
  assert.deepEqual([window.first, window.last, window.live, window.whole], [1, ENTRIES_MAX, false, true]);
  const { added, gone } = window.after(entries(ENTRIES_MAX - 9, ENTRIES_MAX + 40));
  assert.deepEqual([added.length, gone, window.first, window.last], [40, 40, 41, ENTRIES_MAX + 40]);
  assert.equal(window.after(entries(9_000, 9_001)).added.length, 0, "what does not follow is not put in");
  assert.equal(window.before(entries(60, 70)), 0, "nor what is there");
  assert.ok(run(window));
});

test("older entries that end before the first one are not put in, for they would leave a gap", () => {
  const window = new LogWindow();
  window.show(entries(601, 1000), true);
  // They were asked for before 601, which went when others came behind.
  window.after(entries(1001, 1003));
  assert.equal(window.first, 604);
  assert.equal(window.before(entries(501, 600)), 0);
  assert.deepEqual([window.first, window.last, window.live], [604, 1003, true]);
  assert.equal(window.before(entries(504, 603)), 100, "those that end there are");
  assert.deepEqual([window.first, window.last], [504, 903]);
  assert.ok(run(window));
  assert.equal(window.before([]), 0, "none came, for what is kept begins there");
  const empty = new LogWindow();
  empty.before(entries(7, 9));
  assert.deepEqual([empty.first, empty.last], [7, 9]);
});

test("a window that older entries would overfill is not live while they are read", () => {
  const window = new LogWindow();
  window.show(entries(701, 1000), true);
  window.awaits(100);
  assert.equal(window.live, true, "there is room for them");
  window.after(entries(1001, 1001));
  window.awaits(100);
  assert.equal(window.live, false);
});

test("pictures count by their length", () => {
  const window = new LogWindow();
  window.show([], true);
  for (let seq = 1; seq <= 200; seq += 1) window.after(entries(seq, seq, { type: "message", image: "x".repeat(350_000) }));
  assert.ok(window.entries.length <= 50 && window.last === 200 && run(window), `${window.entries.length}`);
});

const metrics = (n, buckets) => `# HELP a_total x
a_total{code="x"} ${n}
a_total{code="y \\"z\\""} 1
t_seconds_bucket{le="0.1"} ${buckets[0]}
t_seconds_bucket{le="1"} ${buckets[1]}
t_seconds_bucket{le="+Inf"} ${buckets[2]}
build{version="1.2"} 1
`;

test("rates and quantiles are of what came between two readings", () => {
  const [before, now] = [new Reading(metrics(10, [5, 5, 5]), 1_000), new Reading(metrics(40, [55, 104, 105]), 3_000)];
  assert.equal(now.sum("a_total"), 41);
  assert.equal(now.sum("nothing"), undefined);
  assert.equal(now.label("build", "version"), "1.2");
  assert.equal(rate(before, now, "a_total"), 15);
  assert.equal(rate(now, before, "a_total"), undefined, "after a restart there is no rate");
  assert.equal(quantile(before, now, "t_seconds", 0.5), 0.1);
  assert.ok(Math.abs(quantile(before, now, "t_seconds", 0.745) - 0.55) < 0.001);
  assert.equal(quantile(before, now, "t_seconds", 1), 1, "beyond the last bound its value is not known");
  assert.equal(quantile(now, now, "t_seconds", 0.5), undefined);
});

test("addresses within the page lead where they say, and nonsense leads home", () => {
  for (const hash of ["#/", "#/rooms", "#/r/abc_-9", "#/r/abc/42"]) assert.equal(href(route(hash)), hash);
  for (const hash of ["", "#", "#/r/", "#/r/a b", "#/r/<x>", `#/r/${"x".repeat(65)}`, "#/x"]) assert.deepEqual(route(hash), { at: "home" }, hash);
  assert.deepEqual(route("#/r/abc/0"), { at: "room", id: "abc" });
});

test("commands are offered while they are written, and their usage while their value is", () => {
  const all = [{ command: "stock" }, { command: "stop" }, { command: "hello" }];
  const names = (text) => matching(all, text).map(({ command }) => command);
  assert.deepEqual([names("/"), names("/ST"), names("/stock=a"), names("/stock=a b"), names("st")], [["stock", "stop", "hello"], ["stock", "stop"], ["stock"], [], []]);
});

test("days have their names, characters are counted as the server does", () => {
  const now = new Date(2026, 10, 27, 12).getTime();
  assert.deepEqual([day(now, now), day(now - 86_400_000, now)], ["Today", "Yesterday"]);
  assert.match(day(now - 400 * 86_400_000, now), /2025/);
  assert.equal(characters("a🫧é"), 3);
});

test("a log that was trimmed begins later, and a part that does not go on is known", () => {
  const said = (seq) => ({ type: "message", kind: "text", room: "r", seq, user: { id: "bob", name: "bob" }, at: seq, text: "said" });
  const window = new LogWindow();
  window.show([said(5), said(6)], false);
  assert.deepEqual([window.whole, window.lost], [false, false]);
  window.startsAt(5);
  window.startsAt(undefined);
  assert.deepEqual([window.whole, window.lost], [true, false]);
  window.startsAt(7);
  assert.deepEqual([window.whole, window.lost], [true, false], "what follows is there");
  window.startsAt(8);
  assert.equal(window.lost, true);
});

test("what is erased is shown no more, and all else is", () => {
  const user = (id) => ({ id, name: id });
  const said = (seq, id, more = {}) => ({ type: "message", kind: "text", room: "r", seq, user: user(id), at: seq, text: `${id} said`, ...more });
  const log = [said(1, "bob"), said(2, "ann"), said(3, "bob", { kind: "image", text: undefined, image: "data:" }),
    { type: "topic", room: "r", seq: 4, user: user("bob"), at: 4, topic: "t" }, said(5, "bob", { key: "k" }), said(6, "bob")];
  const window = new LogWindow();
  window.show(log, true);
  const order = { type: "erase", room: "r", seq: 7, user: user("bob"), at: 7, upto: 5, by: user("admin") };
  assert.deepEqual(window.obey(order), [0, 2, 4]);
  const left = (seq) => ({ type: "message", kind: "erased", room: "r", seq, user: user("bob"), at: seq });
  assert.deepEqual(window.entries, [left(1), log[1], left(3), log[3], left(5), log[5]]);
  assert.deepEqual(window.obey(order), [], "there is nothing more to forget");
  assert.deepEqual(window.obey({ ...order, room: "other", upto: 9 }), []);
});
