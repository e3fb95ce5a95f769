/** Elements by hand: no markup is ever read from a text, so nothing that somebody wrote can become an element. */

export type Child = Node | string | number | false | null | undefined | Child[];
type Props = Record<string, unknown>;

function fill(element: Element, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) fill(element, child);
    else if (child instanceof Node) element.append(child);
    else if (child !== null && child !== undefined && child !== false) element.append(String(child));
  }
}

/** `on…` is a listener, `class` and names with a dash are attributes, all else is a property. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === false || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value as EventListener);
    else if (name === "class" || name === "role" || name === "for" || name.includes("-")) element.setAttribute(name, String(value));
    else (element as unknown as Props)[name] = value;
  }
  fill(element, children);
  return element;
}

/** Replaces what is in an element. */
export function put(element: Element, ...children: Child[]): void {
  element.replaceChildren();
  fill(element, children);
}

/**
 * As `put`, but what was there and is wanted again stays the same node: a press that begins on it ends on it, and it keeps the
 * focus and the place it is scrolled to; what is the same is not written, so a screen reader does not say it again. Found again
 * are elements by their `data-key`, others by their order. Listeners are those an element was made with: they look up what they need.
 */
export function patch(element: Element, ...children: Child[]): void {
  const wanted = document.createElement("div");
  fill(wanted, children);
  become(element, wanted);
}

function keyOf(node: Node): string | null {
  return node instanceof Element ? node.getAttribute("data-key") : null;
}

/** Has in an element what is in another one. */
function become(element: Element, wanted: Element): void {
  const keyed = new Map<string, ChildNode>();
  const others: ChildNode[] = [];
  for (const child of element.childNodes) {
    const key = keyOf(child);
    if (key === null) others.push(child);
    else keyed.set(key, child);
  }
  const children = [...wanted.childNodes].map((child) => {
    const key = keyOf(child);
    const old = key === null ? others.shift() : keyed.get(key);
    if (old?.nodeName !== child.nodeName) return child;
    if (!(old instanceof Element) || !(child instanceof Element)) {
      if (old.nodeValue !== child.nodeValue) old.nodeValue = child.nodeValue;
      return old;
    }
    for (const name of old.getAttributeNames()) if (!child.hasAttribute(name)) old.removeAttribute(name);
    for (const { name, value } of child.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    become(old, child);
    return old;
  });
  arrange(element, children);
}

/** These children and no others, in this order. One that stands right is not moved, for a node that is moved loses a press and the focus. */
function arrange(element: Element, children: ChildNode[]): void {
  const stays = new Set(children);
  for (const child of [...element.childNodes]) if (!stays.has(child)) child.remove();
  let at = element.firstChild;
  for (const child of children) {
    // The one before it belongs further down: that one goes, not all those behind it.
    if (at && at !== child && at.nextSibling === child) {
      at.remove();
      at = child;
    }
    if (at === child) at = child.nextSibling;
    else element.insertBefore(child, at);
  }
}

/** A name that somebody chose: whatever direction it has ends with it. */
export function bdi(name: string): HTMLElement {
  return h("bdi", { class: "name" }, name);
}

const PATHS = {
  back: "M15 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v14M6 13l6 6 6-6",
  plus: "M12 5v14M5 12h14",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM20 20l-4-4",
  people: "M9 5a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7zM3 20c0-3.5 2.5-5.5 6-5.5s6 2 6 5.5M16 5.5a3.2 3.2 0 0 1 0 6M18 14.8c2 .8 3 2.600 3 5.200",
  send: "M12 19V5M5 12l7-7 7 7",
  image: "M5 5h14a1 1 0 0 1 1 1v12a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1V6a1 1 0 0 1 1-1zM4 16l4.500-4.500 4 4 2.500-2.500 5 5M15.500 8.500v.01",
  check: "M5 12.500l4.500 4.500L19 7.500",
  clock: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v4.500l3 1.500",
  alert: "M12 4a8 8 0 1 1 0 16 8 8 0 0 1 0-16zM12 8v5M12 16v.01",
  out: "M14 5H6v14h8M10 12h10M17 8.500l3.500 3.500-3.500 3.500",
  link: "M10 14a4 4 0 0 0 5.700 0l3-3a4 4 0 0 0-5.700-5.700l-1 1M14 10a4 4 0 0 0-5.700 0l-3 3a4 4 0 0 0 5.700 5.700l1-1",
  bubble: "M5 5h14a1.500 1.500 0 0 1 1.500 1.500v9A1.500 1.500 0 0 1 19 17h-6.500L8 20.500V17H5a1.500 1.500 0 0 1-1.500-1.500v-9A1.500 1.500 0 0 1 5 5z",
} as const;

export type Icon = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

/** A drawing beside a word, or instead of one that `label` of its button says. */
export function icon(name: Icon): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", "0 0 24 24"], ["class", "icon"], ["aria-hidden", "true"]] as const) svg.setAttribute(key, value);
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows only an icon. */
export function iconButton(name: Icon, label: string, onclick: () => void, more: Props = {}): HTMLButtonElement {
  return h("button", { type: "button", class: "icon-button", "aria-label": label, title: label, onclick, ...more }, icon(name));
}

/** The mark of Hubbub: one voice among others. */
export function mark(): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  for (const [key, value] of [["viewBox", "0 0 32 32"], ["class", "mark"], ["aria-hidden", "true"]] as const) svg.setAttribute(key, value);
  for (const d of ["M7 4h18a4 4 0 0 1 4 4v11a4 4 0 0 1-4 4H16l-7 6v-6H7a4 4 0 0 1-4-4V8a4 4 0 0 1 4-4z", "M10 11.500v4M16 9v9M22 11.500v4"]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

/** Gives the focus to what stands now where something had it, by its `data-key`; where there is no such thing, to where one writes. */
export function focusAgain(key: string | undefined): void {
  const same = key && document.querySelector<HTMLElement>(`[data-key="${CSS.escape(key)}"]`);
  (same || document.querySelector<HTMLElement>(":is(.composer textarea, .join-bar button)"))?.focus({ preventScroll: true });
}

/** Draws anew what may have the focus, which is not to be lost by it. */
export function keepingFocus(element: Element, draw: () => void): void {
  const focused = document.activeElement as HTMLElement | null;
  const within = element.contains(focused);
  draw();
  if (within && document.activeElement !== focused) focusAgain(focused?.dataset["key"]);
}

const HUES = 8;

/** Somebody's initial on a color of their own; decoration, for the name stands beside it. */
export function avatar(user: { id: string; name: string }): HTMLElement {
  let hash = 0;
  for (const char of user.id) hash = (hash * 31 + char.codePointAt(0)!) >>> 0;
  const initial = [...user.name.normalize("NFC").replace(/[^\p{L}\p{N}\p{Extended_Pictographic}]/gu, "")][0] ?? "?";
  return h("span", { class: `avatar hue-${hash % HUES}`, "aria-hidden": "true" }, initial.toLocaleUpperCase());
}

/** A tab that is hidden has no frames; what it shows (in its title, to a screen reader) is at most so many milliseconds late. */
const NO_FRAME = 500;

/** What is to be drawn again, to be called for each change: done in the next frame, once for all of them. */
export function onceAFrame(draw: () => void): () => void {
  let frame: number | undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const run = () => {
    cancelAnimationFrame(frame!);
    clearTimeout(timer);
    frame = timer = undefined;
    draw();
  };
  return () => {
    if (timer !== undefined) return;
    frame = requestAnimationFrame(run);
    timer = setTimeout(run, NO_FRAME);
  };
}
