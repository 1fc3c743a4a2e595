// Pages of other origins than the gateway: one listener, reached as http://localhost:PORT, http://127.0.0.1:PORT, …
import { createServer } from 'node:http';

/** Serves the same empty page under every path. @returns {Promise<{port: number, close(): void}>} */
export async function serveEmptyPage() {
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    // without an icon of its own the browser asks for one, and a test would count that request
    response.end('<!doctype html><title>A page</title><link rel="icon" href="data:,">');
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: server.address().port,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
