// Makes a page in a real Chromium call many URLs. Reads one JSON array of calls a line, `[{id, interface, url, init}]`, and writes one
// JSON object a line: by id, what the page got and what the network says of CORS; and the console's messages about EventSource, which
// name no URL. Ends with its input.
import { createInterface } from 'node:readline';
import { Chromium } from './chromium.mjs';

const [origin, thirdParties] = process.argv.slice(2); // `allowed` or `blocked`: cookies of other sites
const browser = await Chromium.launch({ preferences: { profile: { cookie_controls_mode: thirdParties === 'allowed' ? 0 : 1 } } });
try {
  const page = await browser.newPage();
  await page.goto(`${origin}/`);
  // a request that is blocked before it is sent is told of as an issue, and nowhere else
  const issues = [];
  page.on('Audits.issueAdded', ({ issue }) => issues.push(issue));
  await page.call('Audits.enable');
  const console_ = [];
  page.on('Log.entryAdded', ({ entry }) => console_.push(entry));
  await page.call('Log.enable');
  for await (const line of createInterface({ input: process.stdin })) {
    page.requests.length = 0;
    console_.length = 0;
    const outcomes = await page.evaluate(callAll, JSON.parse(line));
    await settled(page);
    for (const { url, failed } of page.requests) {
      const outcome = outcomes[/\/case\/(\d+)\//.exec(url)?.[1]];
      if (outcome && failed?.cors) outcome.cors ??= failed.cors;
      if (outcome && failed) outcome.failed ??= failed.text;
    }
    for (const { details } of issues.splice(0)) {
      const { request, corsErrorStatus } = details.corsIssueDetails ?? {};
      const outcome = outcomes[/\/case\/(\d+)\//.exec(request?.url)?.[1]];
      if (outcome?.raised) outcome.cors ??= corsErrorStatus.corsError;
    }
    const messages = console_.map(({ text, url }) => ({ text, id: Number(/\/case\/(\d+)\//.exec(url)?.[1] ?? 0) }));
    console.log(JSON.stringify({ outcomes, messages }));
  }
} finally {
  await browser.close();
}

/** What CORS found is told of shortly after the page knows that its fetch failed. */
async function settled(page) {
  for (const end = Date.now() + 20_000; Date.now() < end; ) {
    // a redirected request is in the list once for each URL, and ends once
    const ended = new Set(page.requests.filter(({ finished, failed }) => finished || failed).map(({ id }) => id));
    if (page.requests.every(({ id }) => ended.has(id))) return;
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 5)));
  }
}

/** Runs in the page. */
async function callAll(calls) {
  const interfaces = {
    fetch: async (url, init) => {
      const response = await fetch(url, init);
      const outcome = { type: response.type, status: response.status, headers: [...response.headers.keys()] };
      await response.arrayBuffer().catch(() => {});
      return outcome;
    },
    xhr: (url, { method, headers, credentials, body }, listens) => new Promise((resolve, reject) => {
      const xhr = new XMLHttpRequest();
      if (listens) xhr.upload.onprogress = () => {};
      xhr.open(method, url);
      for (const [name, value] of headers) xhr.setRequestHeader(name, value);
      xhr.withCredentials = credentials === 'include';
      xhr.onerror = () => reject(new Error('error'));
      xhr.onload = () => {
        const lines = xhr.getAllResponseHeaders().split('\r\n').filter((line) => line !== '');
        resolve({ type: 'xhr', status: xhr.status, headers: lines.map((line) => line.split(':')[0]) });
      };
      xhr.send(body);
    }),
    'event source': (url, { credentials }) => new Promise((resolve, reject) => {
      const source = new EventSource(url, { withCredentials: credentials === 'include' });
      source.onopen = () => { source.close(); resolve({ type: 'open', status: 200, headers: [] }); };
      // after some network errors it would try again, which changes nothing here
      source.onerror = () => { source.close(); reject(new Error('closed')); };
    }),
  };
  interfaces['xhr and listener'] = (url, init) => interfaces.xhr(url, init, true);
  const outcomes = {};
  const waiting = [...calls];
  const worker = async () => {
    for (let call; (call = waiting.shift()); ) {
      try {
        outcomes[call.id] = await interfaces[call.interface](call.url, call.init);
      } catch (error) {
        outcomes[call.id] = { raised: error.name };
      }
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return outcomes;
}
