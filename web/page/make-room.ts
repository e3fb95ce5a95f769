import { dialog, input } from "./notices.ts";
import { go } from "./route.ts";
import { newKey } from "../sdk/index.ts";
import type { Chat } from "./chat.ts";

/** Asks for a name and makes the room; a second press after trouble makes no second one. */
export function makeRoom(chat: Chat): void {
  const name = input("Name", { name: "name", required: true, maxLength: 80, placeholder: "Garden club" });
  const topic = input("Topic (optional)", { name: "topic", maxLength: 256, placeholder: "What it is about" });
  const key = newKey();
  dialog("New room", "Create room", async () => {
    const room = await chat.client.create({ name: name.input.value.trim(), topic: topic.input.value.trim() || undefined, key });
    chat.onJoined(room);
    go({ at: "room", id: room.id });
  }, name.row, topic.row);
}
