// Pages of other origins than the gateway: one listener, reached as http://localhost:PORT, http://127.0.0.1:PORT, …
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';

const ROOT = new URL('../../', import.meta.url);
const FILES = { '/tokenway.js': 'web/tokenway.js', '/web/tokenway.js': 'web/tokenway.js', '/examples/eventsource.html': 'examples/eventsource.html', '/examples/tokenway.html': 'examples/tokenway.html' };

/** Serves tokenway.js and the examples under their paths, and the same empty page under every other. @returns {Promise<{port: number, close(): void}>} */
export async function serveEmptyPage() {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://localhost');
    response.setHeader('content-type', `text/${pathname.endsWith('.js') ? 'javascript' : 'html'}; charset=utf-8`);
    if (FILES[pathname]) return response.end(readFileSync(new URL(FILES[pathname], ROOT)));
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
