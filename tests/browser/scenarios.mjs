// What a page sees of the gateway, and what the network saw of the page. `allowed` and `refused` are origins of the same
// empty page; `gateway` is the gateway's origin.

/** A page streams a completion by fetch: each piece with the time at which the page had it. */
export async function stream({ browser, allowed, gateway, request }) {
  const page = await open(browser, allowed);
  const seen = await page.evaluate(streamed, `${gateway}/v1/chat/completions`, request);
  return { ...seen, sent: sent(page, gateway) };
}

/** Several requests, each described as `{name, path, method, headers, body, size}`; `size` is that of a body of blanks. */
export async function requests({ browser, allowed, refused, from = 'allowed', gateway, cases }) {
  const page = await open(browser, { allowed, refused }[from]);
  const results = {};
  for (const { name, path, ...init } of cases) {
    const earlier = page.requests.length;
    const seen = await page.evaluate(fetched, `${gateway}${path}`, init);
    await settled(page, earlier);
    results[name] = { ...seen, sent: sent(page, gateway, earlier) };
  }
  return results;
}

/** The page leaves a stream: by AbortController after `tokens` events, or by closing the tab. */
export async function leave({ browser, allowed, gateway, request, how }) {
  const page = await open(browser, allowed);
  const received = await page.evaluate(abandoned, `${gateway}/v1/chat/completions`, request, how === 'abort');
  if (how === 'close') await page.close();
  return { received };
}

async function open(browser, origin) {
  const page = await browser.newPage();
  await page.goto(`${origin}/`);
  return page;
}

/** What the page sent to the gateway, in order, as the network saw it. */
function sent(page, gateway, from = 0) {
  return page.requests.slice(from).filter(({ url }) => url.startsWith(gateway)).map(({ method, status, protocol, headers, responseHeaders, failed }) => ({
    method, status, protocol, request: headers, response: responseHeaders ?? {}, cors: failed?.cors ?? null,
  }));
}

/**
 * The protocol tells of an end, and of what CORS found, shortly after the page knows; and of the status of what CORS has hidden
 * before or after that, or never where nothing was sent.
 */
async function settled(page, from) {
  const told = async (so, within) => {
    for (const end = Date.now() + within; Date.now() < end && !page.requests.slice(from).every(so); ) {
      await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 10)));
    }
  };
  await told(({ finished, failed }) => finished || failed, 20_000);
  await told(({ status }) => status !== undefined, 2000);
}

// The functions below run in the page.

async function streamed(url, request) {
  const begun = performance.now();
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request) });
  const head = performance.now() - begun;
  const pieces = [];
  const decoder = new TextDecoder('utf-8', { fatal: true });
  const reader = response.body.getReader();
  for (let piece; !(piece = await reader.read()).done; ) pieces.push({ at: performance.now() - begun, text: decoder.decode(piece.value, { stream: true }) });
  await new Promise((resolve) => setTimeout(resolve, 100));
  const timing = performance.getEntriesByName(url).at(-1);
  return {
    status: response.status, head, pieces, end: performance.now() - begun, headers: Object.fromEntries(response.headers),
    timing: { protocol: timing?.nextHopProtocol, request_start: timing?.requestStart, server: (timing?.serverTiming ?? []).map(({ name, duration }) => ({ name, duration })) },
  };
}

async function fetched(url, { method = 'GET', headers = {}, body, size, credentials = 'same-origin' }) {
  try {
    const signal = AbortSignal.timeout(20_000); // an answer that never comes is then named by its case
    const response = await fetch(url, { method, headers, credentials, signal, body: size === undefined ? body : new Blob([' '.repeat(size)]) });
    const text = await response.text();
    let json = null;
    try { json = JSON.parse(text); } catch {}
    return { status: response.status, headers: Object.fromEntries(response.headers), json, text: json === null ? text.slice(0, 2000) : undefined };
  } catch (error) {
    return { raised: error.name };
  }
}

async function abandoned(url, request, abort) {
  const controller = new AbortController();
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(request), signal: controller.signal });
  const reader = response.body.getReader();
  let text = '';
  while (text.split('\n\n').length < 4) text += new TextDecoder().decode((await reader.read()).value);
  if (abort) controller.abort();
  return text;
}
