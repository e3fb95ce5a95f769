// An official Socket.IO client in the hands of a test: does what it is told by lines of JSON, says what happens in the same way.
//   SOCKETIO_GENERATION   2 or 4: which client
//   SOCKETIO_URL          the namespace's address
//   SOCKETIO_OPTIONS      the client's options, JSON
// in:  {"call": n, "event": name, "args": [...]}   with a callback; {"binary": true} puts bytes in place of the last argument
//      {"close": true}
// out: {"event": name, "args": [...]}, {"called": n, "args": [...]}, {"transport": name}, {"ping": true}
'use strict';
const { SOCKETIO_GENERATION, SOCKETIO_URL, SOCKETIO_OPTIONS } = process.env;
const io = SOCKETIO_GENERATION === '4' ? require('socket.io-client').io : require('socket.io-client-2');
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const told = ['authentication', 'chatroom', 'join', 'leave', 'message', 'writing', 'status', 'behind', 'reset', 'disconnect'];

const socket = io(SOCKETIO_URL, { forceNew: true, ...JSON.parse(SOCKETIO_OPTIONS) });
for (const name of told) socket.on(name, (...args) => say({ event: name, args }));
for (const name of ['connect_error', 'error']) {
  socket.on(name, (error) => say({ event: name, args: [String(error.message || error)] }));
}
// The 2.x client pings and is answered; the 4.x client is pinged.
(SOCKETIO_GENERATION === '4' ? socket.io : socket).on(SOCKETIO_GENERATION === '4' ? 'ping' : 'pong', () => say({ ping: true }));
socket.on('connect', () => {
  const { engine } = socket.io;
  say({ event: 'connect', args: [] });
  say({ transport: engine.transport.name });
  engine.once('upgrade', () => say({ transport: engine.transport.name }));
});

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { call, event, args, binary, close } = JSON.parse(line);
  if (close) return socket.close();
  if (binary) args[args.length - 1].image = Buffer.from([1, 2, 3]);
  socket.emit(event, ...args, (...answer) => say({ called: call, args: answer }));
}).on('close', () => process.exit(0));
