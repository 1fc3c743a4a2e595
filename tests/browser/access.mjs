// A page on another site than the gateway: a token, a cookie for it, and what the cookie opens, in a browser that blocks
// third-party cookies.
import { createServer } from 'node:http';

/** `page` and `other` are two sites; the gateway allows both. */
export async function session({ browser, page: site, other, gateway, token, completion }) {
  const control = await serveCookies();
  try {
    const page = await browser.newPage();
    await page.goto(`${site}/`);
    const steps = {};
    const step = async (name, path, init) => { steps[name] = await page.evaluate(fetched, `${gateway}${path}`, init); };
    // a cookie as any third party sets it: the browser must not keep it, or the rest shows nothing
    await page.evaluate(fetched, control.url, {});
    steps.control = await page.evaluate(fetched, control.url, {});

    const json = { 'content-type': 'application/json' };
    const post = { method: 'POST', headers: json, body: JSON.stringify(completion) };
    await step('before', '/v1/models', {});
    await step('bad_token', '/v1/session', { method: 'POST', headers: { authorization: 'Bearer nonsense' } });
    await step('login', '/v1/session', { method: 'POST', headers: { authorization: `Bearer ${token}` } });
    await step('models', '/v1/models', {});
    await step('without_credentials', '/v1/models', { credentials: 'omit' });
    await step('stream', '/v1/chat/completions', post);
    await step('form', '/v1/chat/completions', { ...post, headers: { 'content-type': 'text/plain' } });
    steps.document_cookie = await page.evaluate(() => document.cookie);
    steps.event_source = await eventSource(page, `${gateway}/v1/models`, true);
    steps.event_source_without = await eventSource(page, `${gateway}/v1/models`, false);

    // the cookie belongs to this top-level site alone
    await page.goto(`${other}/`);
    await step('other_site', '/v1/models', {});
    await page.goto(`${site}/`);
    await step('back', '/v1/models', {});
    await step('logout', '/v1/session', { method: 'DELETE' });
    await step('after', '/v1/models', {});
    return steps;
  } finally {
    control.close();
  }
}

/** The status that an EventSource gets: it sends no header of the page's, and never preflights. */
async function eventSource(page, url, withCredentials) {
  const from = page.requests.length;
  await page.evaluate(opened, url, withCredentials);
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    const request = page.requests.slice(from).find(({ type, status }) => type === 'EventSource' && status !== undefined);
    if (request) return { status: request.status, preflighted: page.requests.slice(from).some(({ method }) => method === 'OPTIONS') };
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 10)));
  }
  throw new Error('no answer to the EventSource');
}

/** Sets a third-party cookie with every answer, and says whether it came back. */
async function serveCookies() {
  const server = createServer((request, response) => {
    response.setHeader('access-control-allow-origin', request.headers.origin ?? '*');
    response.setHeader('access-control-allow-credentials', 'true');
    response.setHeader('set-cookie', 'control=1; Path=/; Secure; SameSite=None');
    response.end(JSON.stringify({ cookie: request.headers.cookie ?? null }));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://localhost:${server.address().port}/`,
    close: () => { server.close(); server.closeAllConnections(); },
  };
}

// The functions below run in the page.

async function fetched(url, init) {
  try {
    const response = await fetch(url, { credentials: 'include', signal: AbortSignal.timeout(20_000), ...init });
    const text = await response.text();
    let json = null;
    try { json = JSON.parse(text); } catch {}
    return { status: response.status, json, text };
  } catch (error) {
    return { raised: error.name };
  }
}

async function opened(url, withCredentials) {
  const source = new EventSource(url, { withCredentials });
  // JSON is no event stream: the browser gives up after the head
  await new Promise((resolve) => { source.onerror = resolve; source.onopen = resolve; });
  source.close();
}
