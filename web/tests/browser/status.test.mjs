// The status view shows what /metrics says.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch, Visitor } from "../lib/browser.mjs";
import { Hubbub } from "../lib/server.mjs";

let browser, server;
before(async () => { [browser, server] = await Promise.all([launch(), Hubbub.start()]); });
after(async () => {
  await browser?.close();
  await server?.stop();
});

const tile = (visitor, title) => visitor.page.getByRole("region", { name: title, exact: true });

test("figures, plots, readiness; and that the node is away", async () => {
  const visitor = await Visitor.come(browser, server.url, { viewport: { width: 1440, height: 900 } });
  await visitor.page.goto(`${server.url}/status`);
  await visitor.page.getByText("Ready", { exact: true }).waitFor();
  const ann = await server.client(await server.person("Ann"));
  const room = await ann.create({ name: "Watched" });
  let talking = true;
  const talk = (async () => { while (talking) await ann.send(room.id, { text: "tick" }); })();
  await tile(visitor, "Connections").locator(".figure", { hasText: /^1$/ }).waitFor();
  await tile(visitor, "Rooms").locator(".figure", { hasText: "1 with members here" }).waitFor();
  await visitor.until("deliveries and acks are measured", () => ["Deliveries", "Time to an ack", "Messages kept", "Store"].every((title) => {
    const figure = document.querySelector(`[aria-label="${title}"] .figure`).textContent;
    return parseFloat(figure) > 0;
  }));
  await visitor.until("a line is drawn", () => document.querySelector('[aria-label="Deliveries"] .plot-line').getAttribute("d").split("L").length > 3);
  const kept = Number((await tile(visitor, "Messages kept").locator(".figure-more").innerText()).replace(/\D/g, ""));
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const now = Number(/^hubbub_worker_entries_committed_total(?:\{.*\})? (\d+)/m.exec(metrics)[1]);
  assert.ok(kept > 0 && kept <= now, `${kept} of ${now}`);
  await visitor.page.getByText("Nothing needs a look").waitFor();
  for (const colorScheme of ["light", "dark"]) {
    for (const width of [390, 1440]) {
      await visitor.page.emulateMedia({ colorScheme });
      await visitor.page.setViewportSize({ width, height: 900 });
      assert.deepEqual(await visitor.violations(), []);
      assert.ok(await visitor.page.evaluate(() => document.documentElement.scrollWidth <= innerWidth));
      if (process.env.SCREENSHOTS) {
        mkdirSync(process.env.SCREENSHOTS, { recursive: true });
        await visitor.page.screenshot({ path: join(process.env.SCREENSHOTS, `status-${width}-${colorScheme}.png`) });
      }
    }
  }
  assert.deepEqual([visitor.complaints, visitor.elsewhere], [[], []]);
  talking = false;
  await talk;
  ann.close();
  await server.end();
  await visitor.page.getByText("The node does not answer").waitFor();
  await server.begin();
  await visitor.page.getByText("Ready", { exact: true }).waitFor();
  await visitor.leave();
});
