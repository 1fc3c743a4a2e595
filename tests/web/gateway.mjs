// What a page sees of the gateway's resumable streams, without the gateway: one stream of given events on loopback, whose
// connections can be cut at any byte. It answers as docs/STREAMS.md says.
import { createServer } from 'node:http';

export const ID = 'st_0123456789abcdef0123456789abcdef';

/** A chunk as the upstream would send it. */
export function chunk(delta, more = {}) {
  return JSON.stringify({ id: 'c', object: 'chat.completion.chunk', model: 'm', choices: [{ index: 0, delta, finish_reason: null }], ...more });
}

/** The data of a whole stream: a role, these words, an end. */
export function answer(words) {
  return [chunk({ role: 'assistant', content: '' }), ...words.map((content) => chunk({ content })), chunk({}, { usage: { total_tokens: 9 } }), '[DONE]'];
}

/**
 * @param {object} plan
 * @param {string[]} plan.data  the stream's events
 * @param {(number | null | ((response) => void))[]} plan.connections  what becomes of each connection in turn: cut after so
 *   many bytes, whole (null, and all further ones), or answered otherwise
 * @param {boolean} [plan.resumable]  whether the answer names its stream
 */
export async function serve({ data, connections = [], resumable = true, first = 1, retry = 1000 }) {
  const requests = [];
  const cuts = [...connections];
  let stopped = () => {};
  let left = () => {};
  const server = createServer(async (request, response) => {
    const { method, url, headers } = request;
    let body = '';
    for await (const piece of request) body += piece;
    requests.push({ method, url, headers, body });
    if (method === 'DELETE') {
      response.writeHead(204).end();
      stopped();
      return;
    }
    request.socket.once('close', () => left());
    const cut = cuts.shift() ?? null;
    if (typeof cut === 'function') return cut(response);
    const resumed = method === 'GET';
    const from = resumed ? Number(new URL(url, 'http://x').searchParams.get('from')) : 0;
    if (resumed && from >= data.length) return void response.writeHead(204).end();
    let text = '';
    for (let seq = Math.max(from + 1, resumed ? first : 1); seq <= data.length; seq += 1) {
      if (resumed) text += `id: ${seq}\n${text === '' ? `retry: ${retry}\n` : ''}`;
      text += `data: ${data[seq - 1]}\n${seq % 3 === 0 ? '\n: hb\n' : '\n'}`;
    }
    if (resumed && from + 1 < first) text = `event: gap\ndata: {"from":${from + 1},"to":${first - 1}}\n\n${text}`;
    response.writeHead(200, { 'content-type': 'text/event-stream', 'x-request-id': 'req_1', ...(resumable && { 'tokenway-stream-id': ID }) });
    response.flushHeaders();
    const bytes = Buffer.from(text);
    if (cut === null) response.end(bytes);
    else response.write(bytes.subarray(0, cut), () => request.socket.destroySoon());
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/v1/chat/completions`,
    requests,
    /** Resolves with the next DELETE. */
    stopped: () => new Promise((resolve) => { stopped = resolve; }),
    /** Resolves when the next connection is gone. */
    left: () => new Promise((resolve) => { left = resolve; }),
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** An answer that is a refusal. */
export function refusal(status, code, headers = {}) {
  return (response) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify({ error: { message: `refused: ${code}`, type: 'x', code, request_id: 'req_9' } }));
  };
}

/** An answer that streams these bytes and then says nothing, and does not end. */
export function silence(text, headers = {}) {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'tokenway-stream-id': ID, ...headers });
    response.write(text);
  };
}

/** A small repeatable generator of numbers below 1 (mulberry32). */
export function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}
