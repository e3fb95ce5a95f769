// A real Chromium, and people who use the page in it.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { until } from "./until.mjs";

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

function found() {
  const names = [process.env.CHROMIUM, "chromium", "chromium-browser", "google-chrome"].filter(Boolean);
  for (const name of names) {
    const path = spawnSync("sh", ["-c", `command -v "${name}"`], { encoding: "utf8" }).stdout.trim();
    if (path) return path;
  }
  throw new Error("no Chromium: run deploy/local/install-chromium, or set CHROMIUM");
}

export function launch() {
  const args = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-background-timer-throttling", "--disable-renderer-backgrounding", "--js-flags=--expose-gc",
  ];
  return chromium.launch({ executablePath: found(), headless: true, args });
}

/** One person's browser: its page, and whatever it complained about. */
export class Visitor {
  complaints = [];
  elsewhere = [];

  static async come(browser, url, options = {}) {
    const visitor = new Visitor();
    visitor.url = url;
    visitor.context = await browser.newContext({
      viewport: { width: 1280, height: 800 }, locale: "en-GB", timezoneId: "UTC", permissions: ["clipboard-read", "clipboard-write"], ...options,
    });
    visitor.context.setDefaultTimeout(Number(process.env.PATIENCE ?? 30_000));
    visitor.page = await visitor.tab();
    return visitor;
  }

  /** Another tab of the same browser. */
  async tab() {
    const page = await this.context.newPage();
    page.on("console", (message) => {
      if (["error", "warning"].includes(message.type())) this.complaints.push(message.text());
    });
    page.on("pageerror", (error) => this.complaints.push(String(error)));
    page.on("request", (request) => {
      const { protocol, origin } = new URL(request.url());
      if (!["data:", "blob:"].includes(protocol) && origin !== this.url) this.elsewhere.push(request.url());
    });
    return page;
  }

  /** Is logged in as this person, without the form. */
  async be(person, hash = "") {
    await this.context.addInitScript(([key, token]) => {
      if (location.protocol === "http:" && !sessionStorage.getItem("came")) localStorage.setItem(key, token);
      sessionStorage.setItem("came", "1");
    }, ["hubbub.token", person.token]);
    await this.page.goto(`${this.url}/${hash}`);
    await this.page.locator(".shell").waitFor();
  }

  /** Writes and sends. */
  async say(text) {
    await this.composer.fill(text);
    await this.composer.press("Enter");
  }

  get composer() { return this.page.locator(".composer textarea"); }

  /** The texts that are shown, in their order, drafts last. */
  texts() {
    return this.page.locator(".timeline .message .text").allInnerTexts();
  }

  hears(text) {
    return this.page.locator(".timeline .rows:not(.drafts) .text", { hasText: text }).first().waitFor();
  }

  async room(id) {
    await this.page.evaluate((hash) => { location.hash = hash; }, `#/r/${id}`);
    await this.page.locator(".composer, .join-bar").first().waitFor();
  }

  /** What axe finds wrong with the page as it is now. */
  async violations() {
    // Through the debugger: the page's policy lets no script in.
    await this.page.evaluate(axe);
    const { violations } = await this.page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
    return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.target} ${node.failureSummary}`));
  }

  until(what, look, argument) {
    return until(what, () => this.page.evaluate(look, argument));
  }

  leave() { return this.context.close(); }
}
