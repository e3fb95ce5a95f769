/** What bots understand, as `GET /v1/bots/commands` tells it. */
export interface Command {
  command: string;
  /** Such as `/stock=CODE`. */
  usage: string;
  about: string;
}

let known: Promise<Command[]> | undefined;

/** Asked once, when the first command is begun; a server without bots has none. */
export function commands(token: string): Promise<Command[]> {
  known ??= ask(token).catch(() => {
    known = undefined;
    return [];
  });
  return known;
}

async function ask(token: string): Promise<Command[]> {
  const response = await fetch("/v1/bots/commands", { headers: { authorization: `Bearer ${token}` } });
  if (response.status === 404) return [];
  if (!response.ok) throw new Error(response.statusText);
  const { commands } = await response.json() as { commands?: Command[] };
  return (commands ?? []).filter((one) => typeof one?.command === "string");
}

/** Those that may be meant by what is written so far. */
export function matching(all: Command[], text: string): Command[] {
  if (!text.startsWith("/") || /[\s]/.test(text)) return [];
  const [name = "", value] = text.slice(1).toLocaleLowerCase().split("=", 2);
  return all.filter(({ command }) => value === undefined ? command.toLocaleLowerCase().startsWith(name) : command.toLocaleLowerCase() === name);
}
