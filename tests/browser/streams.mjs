// Resumable streams in a real browser, over connections that are cut. `gateway` is the gateway's own origin; pages reach it
// through a proxy of this process.
import { cuttingProxy } from './proxy.mjs';

/** A page reads a stream with EventSource, to the end that the gateway tells it. `cuts`: bytes per connection. */
export async function eventSource({ browser, allowed, gateway, request, cuts }) {
  return through(gateway, async (proxy) => {
    const page = await open(browser, allowed);
    const made = await page.evaluate(create, proxy.origin, request);
    proxy.cut(cuts);
    await page.evaluate(follow, made.url);
    await page.until(() => window.source.readyState === EventSource.CLOSED);
    const seen = await page.evaluate(() => window.seen);
    return { ...seen, made, cuts: proxy.cuts, requests: await asked(page), cookies: await cookies(browser, page, gateway) };
  });
}

/** A page of another site logs in, and reads its stream with EventSource by the cookie alone; nobody reads it without. */
export async function sessionEventSource({ browser, page: site, gateway, token, request, cuts }) {
  return through(gateway, async (proxy) => {
    const page = await open(browser, site);
    const log = { in: await page.evaluate(session, proxy.origin, { method: 'POST', headers: { authorization: `Bearer ${token}` } }) };
    const made = await page.evaluate(create, proxy.origin, request, { credentials: 'include' });
    await page.evaluate(follow, made.url);
    await page.until(() => window.source.readyState === EventSource.CLOSED);
    const without = await page.evaluate(() => window.seen);
    proxy.cut(cuts);
    await page.evaluate(follow, made.url, { withCredentials: true });
    await page.until(() => window.source.readyState === EventSource.CLOSED);
    const seen = await page.evaluate(() => window.seen);
    log.out = await page.evaluate(session, proxy.origin, { method: 'DELETE' });
    await page.evaluate(follow, made.url, { withCredentials: true });
    await page.until(() => window.source.readyState === EventSource.CLOSED);
    const after = await page.evaluate(() => window.seen);
    const preflights = page.requests.filter(({ url, method }) => url === made.url && method === 'OPTIONS').length;
    return { ...seen, log, made, without, after, preflights, cuts: proxy.cuts, requests: await asked(page), cookies: await cookies(browser, page, gateway) };
  });
}

/** A page reads a stream with tokenway.js, whose connection is cut after some events, and then `cuts` more times. */
export async function module({ browser, allowed, gateway, request, cuts }) {
  return through(gateway, async (proxy) => {
    const page = await open(browser, allowed);
    await page.evaluate(begin, proxy.origin, request);
    await page.until(() => window.seen.text.length > 40);
    proxy.cut(cuts);
    await page.until(() => window.seen.end !== undefined);
    const seen = await page.evaluate(() => window.seen);
    return { ...seen, cuts: proxy.cuts, requests: await asked(page), cookies: await cookies(browser, page, gateway) };
  });
}

/** A page stops its stream: with the signal of tokenway.js, or by DELETE beside an EventSource. */
export async function stop({ browser, allowed, gateway, request, how }) {
  const page = await open(browser, allowed);
  if (how === 'signal') {
    await page.evaluate(begin, gateway, request);
    await page.until(() => window.seen.text.length > 40);
    await page.evaluate(() => window.controller.abort());
    await page.until(() => window.seen.end !== undefined);
  } else {
    const { url } = await page.evaluate(create, gateway, request);
    await page.evaluate(follow, url);
    await page.until(() => window.seen.data.length > 5);
    await page.evaluate((url) => fetch(url, { method: 'DELETE' }).then(({ status }) => status), url);
    await page.until(() => window.source.readyState === EventSource.CLOSED);
  }
  return page.evaluate(() => window.seen);
}

/** One tab begins a stream; two others, of the same profile, read it as well, from its start, one after the first has left. */
export async function tabs({ browser, allowed, gateway, request }) {
  const first = await open(browser, allowed);
  await first.evaluate(begin, gateway, request);
  await first.until(() => window.seen.text.length > 40);
  const id = await first.evaluate(() => window.answer.id);
  const second = await open(browser, allowed, first);
  const third = await open(browser, allowed, first);
  await second.evaluate(begin, gateway, null, { resume: { id } });
  await second.until(() => window.seen.text.length > 40);
  await first.evaluate(() => window.leave());
  await third.evaluate(follow, `${gateway}/v1/streams/${id}`);
  await second.until(() => window.seen.end !== undefined);
  await third.until(() => window.source.readyState === EventSource.CLOSED);
  const [left, joined, followed] = await Promise.all([first, second, third].map((page) => page.evaluate(() => window.seen)));
  return { left, joined, followed };
}

/** A page of the gateway's own origin, whose GET has no `Origin`, makes a stream and reads it; then a page elsewhere tries to. */
export async function sameOrigin({ browser, allowed, gateway, request }) {
  const page = await browser.newPage();
  await page.goto(`${gateway}/healthz`);
  const made = await page.evaluate(create, gateway, request);
  const read = async (page) => {
    await page.evaluate(follow, made.url);
    await page.until(() => window.source.readyState === EventSource.CLOSED);
    return page.evaluate(() => window.seen);
  };
  const [seen, requests] = [await read(page), await asked(page)];
  const stranger = await open(browser, allowed, page);
  return { made, seen, requests, stranger: await read(stranger), asked: await asked(stranger) };
}

/** A page of examples/, whose connection is cut, and which is reloaded if `reload`, in the middle of an answer. */
export async function example({ browser, allowed, gateway, name, prompt, reload }) {
  return through(gateway, async (proxy) => {
    const page = await browser.newPage();
    await page.goto(`${allowed}/examples/${name}.html?gateway=${encodeURIComponent(proxy.origin)}`);
    await page.evaluate((prompt) => {
      document.getElementById('prompt').value = prompt;
      document.getElementById('ask').requestSubmit();
    }, prompt);
    await page.until(() => document.getElementById('answer').textContent.length > 40);
    if (reload) {
      const loaded = page.once('Page.loadEventFired');
      await page.call('Page.reload');
      await loaded;
      await page.until(() => document.getElementById('answer').textContent.length > 60);
    }
    proxy.cut();
    await page.until(() => document.getElementById('state').textContent.startsWith('reconnecting') || document.getElementById('state').textContent.startsWith('cut'));
    await page.until(() => document.getElementById('state').textContent.startsWith('done'));
    return { answer: await page.evaluate(() => document.getElementById('answer').textContent), complaints: page.complaints };
  });
}

async function through(gateway, scenario) {
  const proxy = await cuttingProxy(gateway);
  try {
    return await scenario(proxy);
  } finally {
    proxy.close();
  }
}

async function open(browser, origin, beside) {
  const page = await browser.newPage({ beside });
  await page.goto(`${origin}/`);
  return page;
}

/** What the page asked of the gateway about streams, without preflights. */
async function asked(page) {
  await told(page, () => page.requests.every(({ onWire, failed, status }) => onWire || (failed && status === undefined)));
  const requests = page.requests.filter(({ url, method }) => new URL(url).pathname.startsWith('/v1/') && method !== 'OPTIONS');
  return requests.map(({ method, url, status, headers, failed, onWire }) => ({
    method, path: url.slice(new URL(url).origin.length), status: status ?? null,
    cookie: onWire ? headers.cookie?.split('=')[0] ?? null : 'not told',
    last_event_id: headers['last-event-id'] ?? null, origin: headers.origin ?? null, failed: failed?.text ?? null,
  }));
}

/** The cookie of the gateway's site that goes to it with a request of its own page, and with one of this page. */
async function cookies(browser, page, gateway) {
  const url = `${gateway}/healthz`;
  await page.call('Network.setCookie', { name: 'session', value: '1', url, secure: true, sameSite: 'None' });
  const own = await browser.newPage({ beside: page });
  // what the protocol does not tell of one request, it tells of the next
  const sent = async (page, ask) => {
    for (let tries = 0; tries < 5; tries += 1) {
      await ask();
      const request = page.requests.findLast((request) => request.url === url);
      await told(page, () => request.onWire);
      if (request.onWire) return request.headers.cookie ?? null;
    }
    return 'not told';
  };
  const fetched = () => page.evaluate((url) => fetch(url, { credentials: 'include', mode: 'no-cors' }).then(() => true), url);
  return { own: await sent(own, () => own.goto(url)), third_party: await sent(page, fetched) };
}

/** The protocol tells of the headers on the wire at its own pace, and of some requests not at all. */
async function told(page, so) {
  for (let tries = 0; tries < 300 && !so(); tries += 1) await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 10)));
}

// The functions below run in the page.

async function session(gateway, init) {
  return (await fetch(`${gateway}/v1/session`, { credentials: 'include', ...init })).status;
}

async function create(gateway, request, init = {}) {
  const headers = { 'content-type': 'application/json' };
  const response = await fetch(`${gateway}/v1/streams`, { ...init, method: 'POST', headers, body: JSON.stringify(request) });
  return { status: response.status, ...await response.json() };
}

/** EventSource and nothing else: it decides when to come back, and when not to. */
function follow(url, init) {
  window.seen = { data: [], ids: [], opened: 0, errors: 0 };
  window.source = new EventSource(url, init);
  window.source.onopen = () => { window.seen.opened += 1; };
  window.source.onerror = () => { window.seen.errors += 1; };
  window.source.onmessage = ({ data, lastEventId }) => {
    window.seen.data.push(data);
    window.seen.ids.push(Number(lastEventId));
  };
}

async function begin(gateway, request, options = {}) {
  const { LEAVE, stream } = await import('/tokenway.js');
  window.seen = { text: '', seqs: [], resumed: [], end: undefined };
  window.controller = new AbortController();
  window.leave = () => window.controller.abort(LEAVE);
  window.answer = stream(`${gateway}/v1/chat/completions`, request, {
    ...options,
    signal: window.controller.signal,
    onEvent: ({ type, seq }) => {
      if (type === 'data') window.seen.seqs.push(seq);
      if (type === 'resumed') window.seen.resumed.push(seq);
    },
    onToken: (text) => { window.seen.text += text; },
    onFirstToken: (ms) => { window.seen.first_token_ms = ms; },
  });
  (async () => {
    for await (const _ of window.answer);
    return 'whole';
  })().then(
    (end) => { window.seen.end = end; },
    ({ name, code, message }) => { window.seen.end = { name, code, message }; },
  );
}
