/** Prometheus' text, as far as our own server writes it. */

interface Sample { labels: Record<string, string>; value: number }

/** One reading of all metrics. */
export class Reading {
  #samples = new Map<string, Sample[]>();

  constructor(text: string, readonly at: number) {
    for (const line of text.split("\n")) {
      const match = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
      if (!match) continue;
      const [, name = "", labels = "", value = ""] = match;
      const number = value === "+Inf" ? Infinity : Number(value);
      if (Number.isNaN(number)) continue;
      const samples = this.#samples.get(name) ?? [];
      this.#samples.set(name, samples);
      samples.push({ labels: Object.fromEntries([...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)].map(([, key, said]) => [key, said])), value: number });
    }
  }

  /** A metric with all its labels added up; nothing when this node has none of that name. */
  sum(name: string): number | undefined {
    const samples = this.#samples.get(name);
    return samples?.reduce((sum, { value }) => sum + value, 0);
  }

  label(name: string, label: string): string | undefined {
    return this.#samples.get(name)?.[0]?.labels[label];
  }

  /** How many were at most so large: a histogram's buckets, ascending. */
  buckets(name: string): { le: number; count: number }[] {
    const found = new Map<number, number>();
    for (const { labels, value } of this.#samples.get(`${name}_bucket`) ?? []) {
      const le = labels["le"] === "+Inf" ? Infinity : Number(labels["le"]);
      found.set(le, (found.get(le) ?? 0) + value);
    }
    return [...found].map(([le, count]) => ({ le, count })).sort((a, b) => a.le - b.le);
  }
}

/** How much a counter grew a second between two readings; nothing after a restart, when it begins at 0 again. */
export function rate(before: Reading | undefined, now: Reading, name: string): number | undefined {
  const [was, is] = [before?.sum(name), now.sum(name)];
  if (!before || was === undefined || is === undefined || is < was) return undefined;
  return (is - was) / Math.max(0.001, (now.at - before.at) / 1_000);
}

/** A quantile of what a histogram took between two readings, in its own unit; within a bucket the values are taken to be spread evenly. */
export function quantile(before: Reading | undefined, now: Reading, name: string, q: number): number | undefined {
  const was = new Map(before?.buckets(name).map(({ le, count }) => [le, count]));
  const grown = now.buckets(name).map(({ le, count }) => ({ le, count: count - (was.get(le) ?? 0) }));
  const all = grown.at(-1)?.count ?? 0;
  if (!before || all <= 0 || grown.some(({ count }) => count < 0)) return undefined;
  const wanted = all * q;
  let below = { le: 0, count: 0 };
  for (const bucket of grown) {
    if (bucket.count >= wanted) {
      // Beyond the last bound nothing is known but that.
      if (bucket.le === Infinity) return below.le;
      const share = bucket.count === below.count ? 1 : (wanted - below.count) / (bucket.count - below.count);
      return below.le + (bucket.le - below.le) * share;
    }
    below = bucket;
  }
  return below.le;
}
