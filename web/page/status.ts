import { h, icon, mark, patch, put } from "./dom.ts";
import { number, plural } from "./format.ts";
import { quantile, rate, Reading } from "./metrics.ts";
import { Plot } from "./plot.ts";

/** Milliseconds between two readings, and how many are drawn: five minutes. */
const EVERY = 2_000;
const DRAWN = 150;
/** Latency is of the last readings together: of one alone it would jump. */
const OVER = 5;

/** What a card shows of a reading: a number with its unit, the points to draw, and a line of more. */
interface Shown { value: string; unit?: string; points: (number | undefined)[]; more: string }

interface Kind {
  title: string;
  lines: number;
  /** Nothing, when this node has no such part. */
  show: (now: Reading, before: Reading | undefined, earlier: Reading | undefined) => Shown | undefined;
}

/** Above 0, someone must look: `docs/operations.md` says at what. */
const ALARMS: [string, string][] = [
  ["hubbub_gateway_forks_total", "two contents for one seq"],
  ["hubbub_store_commit_errors_total", "commits of the store that failed"],
  ["hubbub_store_fold_errors_total", "entries that could not be taken from the journal into the tables"],
  ["hubbub_store_damaged_total", "damaged data in the store"],
];

const KINDS: Kind[] = [
  {
    title: "Connections", lines: 1,
    show(now) {
      const open = now.sum("hubbub_gateway_connections");
      if (open === undefined) return undefined;
      const refused = now.sum("hubbub_gateway_refused_total") ?? 0;
      return { value: number(open), points: [open], more: `${number(now.sum("hubbub_gateway_closed_total") ?? 0)} closed, ${number(refused)} refused since the start` };
    },
  },
  {
    title: "Deliveries", lines: 1,
    show(now, before) {
      const each = rate(before, now, "hubbub_gateway_deliveries_total");
      const bytes = rate(before, now, "hubbub_gateway_delivered_bytes_total");
      if (now.sum("hubbub_gateway_deliveries_total") === undefined && now.sum("hubbub_gateway_connections") === undefined) return undefined;
      return { value: short(each), unit: "a second", points: [each], more: bytes === undefined ? "" : `${size(bytes)} a second` };
    },
  },
  {
    title: "Time to an ack", lines: 2,
    show(now, _, earlier) {
      if (now.sum("hubbub_gateway_connections") === undefined) return undefined;
      const [p50, p99] = [0.5, 0.99].map((q) => quantile(earlier, now, "hubbub_gateway_ack_seconds", q));
      return {
        value: p99 === undefined ? "–" : ms(p99), unit: "ms, 99 of 100", points: [p99, p50],
        more: p50 === undefined ? "Nobody sent anything just now" : `Half within ${ms(p50)} ms, over ten seconds`,
      };
    },
  },
  {
    title: "Messages kept", lines: 1,
    show(now, before) {
      const name = "hubbub_worker_entries_committed_total";
      const all = now.sum(name);
      if (all === undefined && now.sum("hubbub_worker_partitions_held") === undefined) return undefined;
      const each = rate(before, now, name) ?? (before ? 0 : undefined);
      return { value: short(each), unit: "a second", points: [each], more: `${number(all ?? 0)} since the start` };
    },
  },
  {
    title: "Rooms", lines: 1,
    show(now) {
      const here = now.sum("hubbub_gateway_rooms");
      const open = now.sum("hubbub_worker_rooms_open");
      if (here === undefined && open === undefined) return undefined;
      return { value: number(here ?? open ?? 0), unit: here === undefined ? "open" : "with members here", points: [here ?? open], more: open === undefined ? "" : `${number(open)} in memory` };
    },
  },
  {
    title: "Store", lines: 2,
    show(now, _, earlier) {
      const [name, what] = now.sum("hubbub_cql_seconds_count") === undefined
        ? ["hubbub_store_commit_seconds", "a commit with its sync"] : ["hubbub_cql_seconds", "an answer of the database"];
      if (now.sum(`${name}_count`) === undefined && now.sum("hubbub_store_queue_bytes") === undefined) return undefined;
      const [p50, p99] = [0.5, 0.99].map((q) => quantile(earlier, now, name, q));
      const queue = now.sum("hubbub_store_queue_bytes");
      return {
        value: p99 === undefined ? "–" : ms(p99), unit: "ms, 99 of 100", points: [p99, p50],
        more: `Time of ${what}${queue === undefined ? "" : `; ${size(queue)} wait`}`,
      };
    },
  },
  {
    title: "Bus", lines: 1,
    show(now, before) {
      const each = rate(before, now, "hubbub_gateway_entries_total");
      const lost = now.sum("hubbub_nats_disconnects_total");
      const more = lost === undefined ? "Within the process"
        : `NATS: lost ${plural(lost, "time")}, ${plural(now.sum("hubbub_nats_dropped_total") ?? 0, "message")} dropped`;
      return { value: short(each ?? (before ? 0 : undefined)), unit: "entries a second", points: [each ?? 0], more };
    },
  },
  {
    title: "Process", lines: 1,
    show(now, before) {
      const memory = now.sum("process_resident_memory_bytes");
      const cpu = rate(before, now, "process_cpu_seconds_total");
      if (memory === undefined) return undefined;
      return { value: size(memory), points: [cpu], more: cpu === undefined ? "Memory" : `Memory; drawn is the CPU: ${Math.round(cpu * 100)} % of one core` };
    },
  },
];

function short(value: number | undefined): string {
  return value === undefined ? "–" : number(value < 10 ? Math.round(value * 10) / 10 : Math.round(value));
}

function ms(seconds: number): string {
  const value = seconds * 1_000;
  return value < 10 ? value.toFixed(1) : number(Math.round(value));
}

function size(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  for (; bytes >= 1_024 && at < units.length - 1; at += 1) bytes /= 1_024;
  return `${bytes < 10 && at > 0 ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
}

function span(seconds: number): string {
  if (seconds < 120) return plural(Math.max(0, Math.round(seconds)), "second");
  if (seconds < 7_200) return plural(Math.round(seconds / 60), "minute");
  return seconds < 172_800 ? plural(Math.round(seconds / 3_600), "hour") : plural(Math.round(seconds / 86_400), "day");
}

class Card {
  readonly element: HTMLElement;
  #kind: Kind;
  #value = h("p", { class: "figure" }, "–");
  #more = h("p", { class: "figure-more" }, "\u00a0");
  #plot: Plot;

  constructor(kind: Kind) {
    this.#kind = kind;
    this.#plot = new Plot(kind.lines, DRAWN);
    this.element = h("section", { class: "tile", "aria-label": kind.title },
      h("h2", {}, kind.title), this.#value, h("div", { class: "plot-frame" }), this.#more);
    this.element.querySelector(".plot-frame")!.append(this.#plot.element);
  }

  show(now: Reading, before: Reading | undefined, earlier: Reading | undefined): void {
    const shown = this.#kind.show(now, before, earlier);
    this.element.classList.toggle("absent", !shown);
    if (!shown) {
      put(this.#value, "–");
      put(this.#more, "Not a part of this node");
      return;
    }
    put(this.#value, shown.value, shown.unit && h("span", { class: "unit" }, ` ${shown.unit}`));
    put(this.#more, shown.more || "\u00a0");
    this.#plot.add(shown.points, `${this.#kind.title} over the last five minutes, now ${shown.value} ${shown.unit ?? ""}`);
  }
}

const chip = h("p", { class: "health", role: "status" }, "Looking…");
const about = h("p", { class: "soft" }, "\u00a0");
const alarms = h("p", { class: "alarms" });
const cards = KINDS.map((kind) => new Card(kind));
const readings: Reading[] = [];

put(document.getElementById("app")!,
  h("header", { class: "status-head" },
    h("div", {}, h("h1", { class: "brand" }, mark(), "Status"), about),
    chip),
  h("main", {}, alarms, h("div", { class: "tiles" }, cards.map(({ element }) => element)),
    h("p", { class: "soft foot-note" }, "This node alone, every two seconds, from ", h("a", { href: "/metrics" }, "/metrics"), ". ", h("a", { href: "/" }, "To the chat"))));

function health(state: "well" | "busy" | "bad", ...words: string[]): void {
  chip.dataset["health"] = state;
  // It is said by a screen reader: written when it is another one, not every two seconds.
  patch(chip, h("span", { class: "dot" }), words.join(" "));
}

async function look(): Promise<void> {
  try {
    const [metrics, ready] = await Promise.all([fetch("/metrics"), fetch("/readyz")]);
    if (!metrics.ok) return health("bad", `The metrics can’t be read: the server answered ${metrics.status}.`);
    const now = new Reading(await metrics.text(), Date.now());
    show(now);
    const { unmet = [] } = await ready.json() as { unmet?: { condition: string; reason: string }[] };
    if (ready.ok) health("well", "Ready");
    else health("bad", "Not ready:", unmet.map(({ condition, reason }) => `${condition} (${reason})`).join(", "));
  } catch {
    // What comes after a silence is not measured from before it.
    readings.length = 0;
    health("bad", "The node does not answer");
  }
}

function show(now: Reading): void {
  const before = readings.at(-1);
  readings.push(now);
  if (readings.length > OVER + 1) readings.shift();
  for (const card of cards) card.show(now, before, readings.length > 1 ? readings[0] : undefined);
  const version = now.label("hubbub_build_info", "version");
  const started = now.sum("process_start_time_seconds");
  put(about, [version && `Hubbub ${version}`, started && `up for ${span(now.at / 1_000 - started)}`].filter(Boolean).join(", "));
  const wrong = ALARMS.map(([name, what]) => [now.sum(name) ?? 0, what] as const).filter(([count]) => count > 0);
  alarms.classList.toggle("bad", wrong.length > 0);
  put(alarms, icon(wrong.length > 0 ? "alert" : "check"),
    wrong.length > 0 ? `Someone must look: ${wrong.map(([count, what]) => `${number(count)} × ${what}`).join("; ")}.` : "Nothing needs a look: no damage, no failed commit.");
}

async function go(): Promise<void> {
  // Nothing is asked while nobody looks.
  if (!document.hidden) await look();
  setTimeout(() => void go(), EVERY);
}

document.addEventListener("visibilitychange", () => { if (!document.hidden) void look(); });
void go();
