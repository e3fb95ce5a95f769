import { bounded } from "./bounded.ts";
import { dialog, input } from "./notices.ts";
import { go } from "./route.ts";
import { newKey } from "../sdk/index.ts";
import type { Chat } from "./chat.ts";

/** Asks for a name and makes the room; a second press after trouble makes no second one. */
export function makeRoom(chat: Chat): void {
  const name = input("Name", { name: "name", required: true, placeholder: "Garden club" });
  const topic = input("Topic (optional)", { name: "topic", placeholder: "What it is about" });
  bounded(name.input, 80);
  bounded(topic.input, 256);
  const key = newKey();
  dialog("New room", "Create room", async () => {
    const room = await chat.client.create({ name: name.input.value.trim(), topic: topic.input.value.trim() || undefined, key });
    chat.onJoined(room);
    go({ at: "room", id: room.id });
  }, name.row, topic.row);
}
