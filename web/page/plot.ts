const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [300, 72];

function part<K extends keyof SVGElementTagNameMap>(name: K, attributes: Record<string, string>): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** One or two lines over time, from 0 up to the largest value that is seen; a moment without a value is a gap. */
export class Plot {
  readonly element = part("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "plot", role: "img" });
  #lines: { values: (number | undefined)[]; path: SVGPathElement; area?: SVGPathElement }[];
  #length: number;

  constructor(lines: number, length: number) {
    this.#length = length;
    this.element.append(part("path", { class: "plot-base", d: `M0 ${HEIGHT - 0.5}H${WIDTH}` }));
    this.#lines = Array.from({ length: lines }, (_, at) => {
      const area = at === 0 ? part("path", { class: "plot-area" }) : undefined;
      const path = part("path", { class: `plot-line line-${at}`, "vector-effect": "non-scaling-stroke" });
      if (area) this.element.append(area);
      this.element.append(path);
      return { values: [], path, area };
    });
  }

  /** The largest value that is drawn. */
  get top(): number {
    return Math.max(0, ...this.#lines.flatMap(({ values }) => values.map((value) => value ?? 0)));
  }

  add(values: (number | undefined)[], label: string): void {
    this.#lines.forEach((line, at) => {
      line.values.push(values[at]);
      if (line.values.length > this.#length) line.values.shift();
    });
    const top = this.top || 1;
    for (const { values, path, area } of this.#lines) {
      const runs = runsOf(values.map((value, at) => value === undefined ? undefined
        : [WIDTH - (values.length - 1 - at) * (WIDTH / (this.#length - 1)), HEIGHT - 2 - (value / top) * (HEIGHT - 8)] as const));
      const lined = runs.map((run) => `M${run.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}`);
      path.setAttribute("d", lined.join(""));
      area?.setAttribute("d", runs.map((run, at) => `${lined[at]}L${run.at(-1)![0].toFixed(1)} ${HEIGHT}L${run[0]![0].toFixed(1)} ${HEIGHT}Z`).join(""));
    }
    this.element.setAttribute("aria-label", label);
  }
}

function runsOf(points: (readonly [number, number] | undefined)[]): (readonly [number, number])[][] {
  const runs: (readonly [number, number])[][] = [];
  let open = false;
  for (const point of points) {
    if (!point) open = false;
    else if (open) runs.at(-1)!.push(point);
    else {
      runs.push([point]);
      open = true;
    }
  }
  return runs;
}
