// A network that breaks: TCP connections carried to a port of this machine, each cut after so many bytes, or all at once.
import { connect, createServer } from 'node:net';

/** @param {string} origin  of the server, such as https://localhost:8443 */
export async function cuttingProxy(origin) {
  const { port, hostname, protocol } = new URL(origin);
  const open = new Set();
  let budgets = [];
  let cuts = 0;
  const server = createServer((client) => {
    const upstream = connect(Number(port), '127.0.0.1');
    let left = budgets.shift() ?? Infinity;
    const cut = () => {
      if (!open.delete(cut)) return;
      cuts += 1;
      client.destroySoon();
      upstream.destroy();
    };
    const end = () => {
      open.delete(cut);
      client.destroy();
      upstream.destroy();
    };
    open.add(cut);
    client.on('data', (bytes) => upstream.write(bytes));
    upstream.on('data', (bytes) => {
      client.write(bytes.subarray(0, left));
      left -= bytes.length;
      if (left <= 0) cut();
    });
    for (const socket of [client, upstream]) socket.on('error', end).on('close', end);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    /** Where the server is reached through this network. */
    origin: `${protocol}//${hostname}:${server.address().port}`,
    get cuts() {
      return cuts;
    },
    /** Cuts all connections now, and the next ones after so many bytes that come down. */
    cut(next = []) {
      budgets = [...next];
      for (const each of [...open]) each();
    },
    close() {
      server.close();
      for (const each of [...open]) each();
    },
  };
}
