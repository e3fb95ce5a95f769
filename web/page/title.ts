/** What the title of the tab says: the sidebar knows what is unread, and the room itself what a room is called that we are not in. */
const said: { unread: string; room: string | undefined } = { unread: "", room: undefined };

export function title(change: Partial<typeof said>): void {
  Object.assign(said, change);
  const now = `${said.unread}${said.room ? `${said.room} · ` : ""}Hubbub`;
  if (document.title !== now) document.title = now;
}
