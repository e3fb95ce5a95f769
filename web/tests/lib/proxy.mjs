// A way between browser and server that can be slow at times, and cut.
import { once } from "node:events";
import { connect, createServer } from "node:net";

export class Way {
  #sockets = new Set();
  #cut = false;

  /** `share` of all pieces wait for `delay` ms, and what is behind them too: the order stays. */
  static async to(port, { share = 0, delay = 0 } = {}) {
    const way = new Way();
    way.delayed = 0;
    const carry = (from, to) => {
      let last = Promise.resolve();
      from.on("data", (piece) => {
        const late = Math.random() < share;
        if (late) way.delayed += 1;
        last = last.then(() => late && new Promise((done) => setTimeout(done, delay))).then(() => to.destroyed || to.write(piece));
      });
      from.on("close", () => void last.then(() => to.destroy()));
      from.on("error", () => {});
    };
    way.server = createServer((client) => {
      if (way.#cut) return client.destroy();
      const server = connect(port, "127.0.0.1");
      for (const socket of [client, server]) {
        way.#sockets.add(socket);
        socket.on("close", () => way.#sockets.delete(socket));
      }
      carry(client, server);
      carry(server, client);
    });
    way.server.listen(0, "127.0.0.1");
    await once(way.server, "listening");
    way.url = `http://127.0.0.1:${way.server.address().port}`;
    return way;
  }

  cut() {
    this.#cut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() { this.#cut = false; }

  close() {
    this.cut();
    this.server.close();
  }
}
