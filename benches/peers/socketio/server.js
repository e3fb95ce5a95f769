// A chat server on socket.io as one is usually written, with the events of Hubbub's Socket.IO door: the same requests,
// the same answers, the same fields. It keeps nothing: its callback says that the message was given to the room.
"use strict";

const { createServer } = require("node:http");
const { Server } = require("socket.io");

const http = createServer();
const io = new Server(http, {
  // As Hubbub's: no compression (socket.io's own default), and a heartbeat of 30 s.
  perMessageDeflate: false,
  pingInterval: 30_000,
  pingTimeout: 30_000,
  serveClient: false,
});
const channel = io.of("/v1/channel");
const heads = new Map();

channel.on("connection", (socket) => {
  // A token is its user's name: signatures are not what is measured.
  const user = String(socket.handshake.auth.token);
  socket.emit("authentication", { user, name: user, type: 1, roles: [] });

  socket.on("join", ({ chatroom }, done) => {
    socket.to(chatroom).emit("join", { user, chatroom });
    socket.join(chatroom);
    done?.({ error: 0, id: chatroom });
  });

  socket.on("message", ({ chatroom, message }, done) => {
    if (typeof message !== "string" || message === "" || !socket.rooms.has(chatroom)) {
      done?.({ error: 602, message: "the message can't be sent" });
      return;
    }
    const seq = (heads.get(chatroom) ?? 0) + 1;
    heads.set(chatroom, seq);
    const id = `${chatroom}-${seq}`;
    const at = new Date().toISOString();
    const msg = { id, owner: user, chatroom, type: 1, message, createdAt: at, updatedAt: at };
    channel.to(chatroom).emit("message", { error: 0, chatroom, msg });
    done?.({ error: 0, id });
  });
});

http.listen(Number(process.env.PORT), "127.0.0.1");
