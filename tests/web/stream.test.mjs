// tokenway.js over real sockets that are cut, refused, silent and stopped. Time runs thirty times as fast, also for
// node's own fetch, whose patience of 300 s is 10 s here: what must end sooner is held to that. Faster, and a busy machine would
// be taken for a dead line.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LEAVE, StreamError, stream } from '../../web/tokenway.js';
import { ID, answer, chunk, generator, refusal, serve, silence } from './gateway.mjs';

const FASTER = 30;
const realTimeout = globalThis.setTimeout;
globalThis.setTimeout = (call, ms, ...args) => realTimeout(call, ms / FASTER, ...args);
const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);

const BODY = { model: 'm', messages: [{ role: 'user', content: 'Hi' }] };
const WORDS = ['Hé', 'llo', ' 世', '界', ' 🚀', '!'];
const TEXT = WORDS.join('');

test('the module is at most 6 KiB as it is served, and needs nothing else', () => {
  const source = readFileSync(new URL('../../web/tokenway.js', import.meta.url));
  assert.ok(source.length <= 6 * 1024, `${source.length} bytes`);
  assert.doesNotMatch(source.toString(), /\bimport\b|\brequire\b/);
});

test('a whole answer is read, measured and told of', async (t) => {
  const gateway = await start(t, { data: answer(WORDS) });
  const seen = await read(gateway);
  assert.equal(seen.text, TEXT);
  assert.equal(seen.tokens.join(''), TEXT);
  assert.equal(seen.chunks, WORDS.length + 2);
  assert.deepEqual(seen.types(), ['open', ...Array(WORDS.length + 3).fill('data')]);
  assert.deepEqual([seen.stream.id, seen.stream.seq], [ID, WORDS.length + 3]);
  assert.deepEqual(seen.firstTokens, [seen.stream.firstTokenMs]);
  assert.ok(seen.firstTokens[0] > 0);
  const [{ method, headers, body }, ...more] = gateway.requests;
  assert.deepEqual([method, headers['tokenway-resumable'], headers['content-type'], more.length], ['POST', 'true', 'application/json', 0]);
  assert.deepEqual(JSON.parse(body), { ...BODY, stream: true });
});

test('a role is no output; reasoning, a refusal and a tool call are', async (t) => {
  for (const [delta, output] of [
    [{ role: 'assistant', content: '' }, false], [{ content: null }, false], [{ tool_calls: [] }, false], [{}, false],
    [{ content: 'x' }, true], [{ reasoning_content: 'x' }, true], [{ refusal: 'x' }, true], [{ tool_calls: [{ index: 0 }] }, true],
  ]) {
    const seen = await read(await start(t, { data: [chunk(delta), '[DONE]'] }));
    assert.equal(seen.firstTokens.length === 1, output, JSON.stringify(delta));
  }
});

test('connections cut at any byte: each event once, in order, and one POST', async (t) => {
  const random = generator(11);
  const data = answer(WORDS);
  for (let round = 0; round < 150; round += 1) {
    // never so many cuts in a row without an event that the stream is given up
    const connections = Array.from({ length: Math.floor(random() * 7) }, () => Math.floor(random() ** 2 * 1400));
    const gateway = await start(t, { data, connections, retry: 1 });
    const seen = await read(gateway);
    assert.equal(seen.error, undefined, `${connections}`);
    assert.equal(seen.text, TEXT, `${connections}`);
    assert.deepEqual(seen.events.filter(({ type }) => type === 'data').map(({ seq }) => seq), data.map((_, index) => index + 1), `${connections}`);
    assert.deepEqual(gateway.requests.map(({ method }) => method), ['POST', ...Array(gateway.requests.length - 1).fill('GET')]);
    assert.deepEqual(getEventListeners(page, 'online'), [], 'nothing is left behind');
    gateway.close();
  }
});

test('a cut and the resume are told of, with their place', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [bytesOf(answer(WORDS).slice(0, 4))] });
  const seen = await read(gateway);
  assert.deepEqual(seen.types().join(' '), 'open data data data data cut resumed data data data data data');
  const [cut, resumed] = ['cut', 'resumed'].map((type) => seen.events.find((event) => event.type === type));
  assert.deepEqual([cut.seq, cut.tries, cut.error.code, resumed.seq], [4, 1, 'cut', 4]);
  assert.ok(cut.delay >= 250 && cut.delay <= 500, `${cut.delay}`);
  assert.equal(gateway.requests[1].url, `/v1/streams/${ID}?from=4`);
});

test('the stream is looked for beside the completions, whatever leads there', async (t) => {
  const gateway = await start(t, { data: answer(WORDS) });
  const paths = ['/v1/chat/completions', '/v1/chat', '/v1/chat/completions?region=eu', '/behind/chat/v1/chat/completions'];
  for (const path of paths) await read({ url: new URL(path, gateway.url) }, { resume: { id: ID } });
  assert.deepEqual(gateway.requests.map(({ url }) => url), [...Array(3).fill(`/v1/streams/${ID}?from=0`), `/behind/chat/v1/streams/${ID}?from=0`]);
});

test('the pause is the server’s, doubles, and is shaken', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500, 300, 0, 0, 0, 0, 0], retry: 1000 });
  const seen = await read(gateway);
  assert.equal(seen.text, TEXT);
  const pauses = seen.events.filter(({ type }) => type === 'cut');
  assert.deepEqual(pauses.map(({ tries }) => tries), [1, 1, 2, 3, 4, 5, 6]);
  [500, 1000, 2000, 4000, 8000, 8000, 8000].forEach((most, index) => {
    assert.ok(pauses[index].delay >= most / 2 && pauses[index].delay <= most, `${index}: ${pauses[index].delay}`);
  });
  assert.equal(new Set(pauses.slice(4).map(({ delay }) => delay)).size, 3, 'no two pauses are alike');
});

test('a stream that cannot be reached any more is given up', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500, ...Array(20).fill(0)] });
  const seen = await read(gateway);
  assert.deepEqual([seen.error.name, seen.error.code, gateway.requests.length], ['StreamError', 'cut', 1 + 8]);
  assert.ok(TEXT.startsWith(seen.text));
});

test('what the gateway refuses for good ends the stream at once', async (t) => {
  for (const [status, code] of [[404, 'stream_not_found'], [400, 'invalid_request'], [401, 'invalid_credentials']]) {
    const gateway = await start(t, { data: answer(WORDS), connections: [500, refusal(status, code)] });
    const { error } = await read(gateway);
    assert.ok(error instanceof StreamError);
    assert.deepEqual([error.status, error.code, error.requestId, error.message], [status, code, 'req_9', `refused: ${code}`]);
    assert.equal(gateway.requests.length, 2);
  }
});

test('what passes is waited for as long as the gateway says', async (t) => {
  const later = [refusal(503, 'draining', { 'retry-after': '7' }), refusal(429, 'rate_limited'), refusal(502, 'upstream_failure')];
  const gateway = await start(t, { data: answer(WORDS), connections: [500, ...later] });
  const seen = await read(gateway);
  assert.equal(seen.text, TEXT);
  const pauses = seen.events.filter(({ type }) => type === 'cut');
  assert.equal(pauses.length, 4);
  assert.ok(pauses[1].delay > 7000 && pauses[1].delay <= 8000, `${pauses[1].delay}`);
  assert.deepEqual([pauses[1].error.code, pauses[2].error.status], ['draining', 429]);

  const never = await start(t, { data: answer(WORDS), connections: [500, refusal(503, 'draining', { 'retry-after': '3600' })] });
  assert.equal((await read(never)).error.code, 'draining');
});

test('a completion that is refused is not asked for again', async (t) => {
  const gateway = await start(t, { data: [], connections: [refusal(503, 'overloaded', { 'retry-after': '2' })] });
  const { error } = await read(gateway);
  assert.deepEqual([error.code, error.status, error.retryAfter, gateway.requests.length], ['overloaded', 503, 2000, 1]);
  const page = await start(t, { data: [], connections: [(response) => response.writeHead(502).end('<html>')] });
  assert.deepEqual([(await read(page)).error.message, page.requests.length], ['Status 502', 1]);
});

test('a gateway that is not there is fetch’s own error', async (t) => {
  const gateway = await start(t, { data: [] });
  gateway.close();
  assert.ok((await read(gateway)).error instanceof TypeError);
});

test('an error event ends the stream with its code and request id', async (t) => {
  const error = { message: 'The model broke off.', type: 'x', code: 'upstream_failure', request_id: 'req_2' };
  const data = [...answer(WORDS).slice(0, 3), JSON.stringify({ error })];
  for (const connections of [[], [400]]) {
    const gateway = await start(t, { data, connections });
    const seen = await read(gateway);
    assert.deepEqual([seen.error.code, seen.error.requestId, seen.error.message], ['upstream_failure', 'req_2', 'The model broke off.']);
    assert.equal(seen.text, WORDS.slice(0, 2).join(''));
    assert.equal(gateway.requests.length, 1 + connections.length);
  }
});

test('events that the gateway no longer holds are an error, and the rest can be had', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [bytesOf(answer(WORDS).slice(0, 2))], first: 6 });
  const { error, stream: broken } = await read(gateway);
  assert.deepEqual([error.code, error.from, error.to], ['gap', 3, 5]);
  const rest = await read(gateway, { resume: { id: broken.id, from: error.to } });
  assert.equal(rest.text, WORDS.slice(4).join(''));
});

test('a gap that is told without numbers is one, too', async (t) => {
  const gateway = await start(t, { data: [], connections: [silence('data: {}\n\nevent: gap\ndata: {"from":2,"to":9}\n\n')] });
  const { error } = await read(gateway);
  assert.deepEqual([error.code, error.from, error.to], ['gap', 2, 9]);
});

test('a number that is skipped is a gap, too', async (t) => {
  const gateway = await start(t, { data: [], connections: [silence('id: 1\ndata: {}\n\nid: 4\ndata: {}\n\n')] });
  const { error } = await read(gateway, { resume: { id: ID } });
  assert.deepEqual([error.code, error.from, error.to], ['gap', 2, 3]);
});

test('an event that comes twice is taken once', async (t) => {
  const gateway = await start(t, { data: [], connections: [silence(`id: 1\ndata: ${chunk({ content: 'a' })}\n\n`.repeat(2) + 'id: 2\ndata: [DONE]\n\n')] });
  assert.equal((await read(gateway, { resume: { id: ID } })).text, 'a');
});

test('the word before a drain is no part of the answer, and the stream is picked up where it was', async (t) => {
  const first = `data: ${chunk({ content: 'a' })}\n\n`;
  const error = '{"error":{"message":"The gateway is shutting down.","type":"server_error","code":"draining","request_id":"req_1"}}';
  // to a reader of the stream, and to the request that made it
  for (const last of [`event: draining\ndata: ${error}\n\n`, `data: ${error}\n\n`]) {
    const gateway = await start(t, {
      data: [chunk({ content: 'a' }), chunk({ content: 'b' }), '[DONE]'],
      connections: [(response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream', 'tokenway-stream-id': ID });
        response.end(first + last);
      }],
    });
    const seen = await read(gateway);
    assert.deepEqual([seen.text, seen.error, gateway.requests[1].url], ['ab', undefined, `/v1/streams/${ID}?from=1`]);
  }
});

test('what cannot be resumed ends with a drain', async (t) => {
  const error = { message: 'The gateway is shutting down.', code: 'draining', request_id: 'req_1' };
  const gateway = await start(t, { data: [JSON.stringify({ error })], resumable: false });
  assert.equal((await read(gateway)).error.code, 'draining');
});

test('a signal stops the stream: at the gateway, at once, with its reason', async (t) => {
  const text = `data: ${chunk({ content: 'a' })}\n\n`;
  const gateway = await start(t, { data: [], connections: [silence(text)] });
  const controller = new AbortController();
  const [stopped, left] = [gateway.stopped(), gateway.left()];
  const reason = new Error('enough');
  const seen = await read(gateway, { signal: controller.signal, onToken: () => setImmediate(() => controller.abort(reason)) });
  assert.equal(seen.error, reason);
  assert.deepEqual(seen.types(), ['open', 'data']);
  await Promise.all([stopped, left]);
  assert.deepEqual(gateway.requests.map(({ method, url }) => `${method} ${url}`), ['POST /v1/chat/completions', `DELETE /v1/streams/${ID}`]);
});

test('after a stop nothing more is handed out, though it has arrived', async (t) => {
  const gateway = await start(t, { data: answer(WORDS) });
  const controller = new AbortController();
  const seen = await read(gateway, { signal: controller.signal, onToken: () => controller.abort() });
  assert.deepEqual([seen.error.name, seen.text], ['AbortError', WORDS[0]]);
});

test('a stop ends the pause before the next try', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500, refusal(503, 'draining', { 'retry-after': '50' })] });
  const controller = new AbortController();
  const begun = performance.now();
  const seen = await read(gateway, {
    signal: controller.signal,
    onEvent: ({ error }) => { if (error?.code === 'draining') setImmediate(() => controller.abort()); },
  });
  assert.equal(seen.error.name, 'AbortError');
  assert.ok(performance.now() - begun < 45_000 / FASTER, 'the pause was to be fifty seconds');
});

test('a stop while a cut is being told of is one, too', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500, refusal(503, 'draining', { 'retry-after': '50' })] });
  const controller = new AbortController();
  const begun = performance.now();
  const seen = await read(gateway, { signal: controller.signal, onEvent: ({ error }) => { if (error?.code === 'draining') controller.abort(); } });
  assert.equal(seen.error.name, 'AbortError');
  assert.ok(performance.now() - begun < 45_000 / FASTER, 'the pause was to be fifty seconds');
  assert.equal(gateway.requests.filter(({ method }) => method === 'GET').length, 1);
});

test('a signal that has fired already asks for nothing', async (t) => {
  const gateway = await start(t, { data: answer(WORDS) });
  const { error } = await read(gateway, { signal: AbortSignal.abort() });
  assert.deepEqual([error.name, gateway.requests.length], ['AbortError', 0]);
});

test('leaving is not stopping', async (t) => {
  const text = `data: ${chunk({ content: 'a' })}\n\n`;
  const gateway = await start(t, { data: answer(WORDS), connections: [silence(text), silence(text)] });
  const controller = new AbortController();
  let left = gateway.left();
  const seen = await read(gateway, { signal: controller.signal, onToken: () => setImmediate(() => controller.abort(LEAVE)) });
  assert.equal(seen.error, LEAVE);
  await left;
  left = gateway.left();
  const begun = performance.now();
  for await (const _ of stream(gateway.url, BODY)) break;
  await left;
  assert.ok(performance.now() - begun < 250_000 / FASTER, 'the connection ends because it was left');
  assert.equal(gateway.requests.filter(({ method }) => method === 'DELETE').length, 0);
});

test('a connection that says nothing for long is taken for dead', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [silence('data: {}\n\n: hb\n'), () => {}] });
  const begun = performance.now();
  const seen = await read(gateway);
  assert.equal(seen.text, TEXT);
  assert.deepEqual(gateway.requests.map(({ method }) => method), ['POST', 'GET', 'GET'], 'neither a silent stream nor a silent head is waited for');
  assert.ok(performance.now() - begun < 250_000 / FASTER, 'two silences of 45 seconds');
});

test('once the browser is online again the pause is over', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500, refusal(503, 'draining', { 'retry-after': '50' })] });
  const begun = performance.now();
  const seen = await read(gateway, { onEvent: ({ error }) => { if (error?.code === 'draining') setImmediate(() => page.dispatchEvent(new Event('online'))); } });
  assert.equal(seen.text, TEXT);
  assert.ok(performance.now() - begun < 45_000 / FASTER, 'the pause was to be fifty seconds');
});

test('another page joins a stream from its start or from a place', async (t) => {
  const gateway = await start(t, { data: answer(WORDS) });
  assert.equal((await read(gateway, { resume: { id: ID } })).text, TEXT);
  assert.equal((await read(gateway, { resume: { id: ID, from: 3 } })).text, WORDS.slice(2).join(''));
  const ended = await read(gateway, { resume: { id: ID, from: answer(WORDS).length } });
  assert.deepEqual([ended.text, ended.error], ['', undefined], '204: nothing is missing');
  assert.ok(gateway.requests.every(({ method }) => method === 'GET'));
});

test('without resume nothing is resumable, and a cut is an error', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500] });
  const { error } = await read(gateway, { resume: false });
  assert.equal(error.code, 'cut');
  assert.deepEqual([gateway.requests.length, gateway.requests[0].headers['tokenway-resumable']], [1, undefined]);
});

test('a gateway that names no stream is not asked for one', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500], resumable: false });
  assert.equal((await read(gateway)).error.code, 'cut');
  assert.equal(gateway.requests.length, 1);
});

test('what the page throws in a callback is no cut', async (t) => {
  const gateway = await start(t, { data: answer(WORDS) });
  for (const name of ['onToken', 'onEvent', 'onFirstToken']) {
    const error = new TypeError(name);
    assert.equal((await read(gateway, { [name]: () => { throw error; } })).error, error);
  }
  assert.equal(gateway.requests.length, 3);
});

test('every request has the page’s headers and credentials, and goes through its fetch', async (t) => {
  const gateway = await start(t, { data: answer(WORDS), connections: [500, silence('id: 4\ndata: {}\n\n')] });
  const sent = [];
  const controller = new AbortController();
  const stopped = gateway.stopped();
  await read(gateway, {
    signal: controller.signal, headers: { authorization: 'Bearer t' }, credentials: 'include',
    fetch: (url, init) => {
      sent.push([init.method, init.credentials, init.headers.authorization, init.cache, init.keepalive]);
      return fetch(url, init);
    },
    onEvent: ({ seq, type }) => { if (type === 'resumed' && seq < 9) controller.abort(); },
  });
  await stopped;
  assert.deepEqual(sent, [
    ['POST', 'include', 'Bearer t', undefined, undefined],
    [undefined, 'include', 'Bearer t', 'no-store', undefined],
    ['DELETE', 'include', 'Bearer t', undefined, true], // it outlives the page
  ]);
});

async function start(t, plan) {
  const gateway = await serve(plan);
  t.after(() => gateway.close());
  return gateway;
}

/** Reads a stream to its end, or to what it throws. */
async function read(gateway, { onEvent, onToken, onFirstToken, ...options } = {}) {
  const seen = { text: '', tokens: [], firstTokens: [], events: [], chunks: 0, types: () => seen.events.map(({ type }) => type) };
  seen.stream = stream(gateway.url, options.resume?.id ? null : BODY, {
    ...options,
    onEvent: (event) => { seen.events.push(event); onEvent?.(event); },
    onToken: (text) => { seen.tokens.push(text); onToken?.(text); },
    onFirstToken: (ms) => { seen.firstTokens.push(ms); onFirstToken?.(ms); },
  });
  try {
    for await (const { choices } of seen.stream) {
      seen.chunks += 1;
      seen.text += choices?.[0].delta.content ?? '';
    }
  } catch (error) {
    seen.error = error;
  }
  return seen;
}

/** Where these events end in an answer to POST. */
function bytesOf(data) {
  return Buffer.byteLength(data.map((each, index) => `data: ${each}\n${(index + 1) % 3 === 0 ? '\n: hb\n' : '\n'}`).join(''));
}
