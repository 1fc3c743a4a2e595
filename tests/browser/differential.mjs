// Makes a page in a real Chromium do many fetches. Reads one JSON array of calls a line, `[{id, url, init}]`, and writes one
// JSON object a line: by id, what the page got and what the network says of CORS. Ends with its input.
import { createInterface } from 'node:readline';
import { Chromium } from './chromium.mjs';

const [origin] = process.argv.slice(2);
const browser = await Chromium.launch();
try {
  const page = await browser.newPage();
  await page.goto(`${origin}/`);
  for await (const line of createInterface({ input: process.stdin })) {
    page.requests.length = 0;
    const outcomes = await page.evaluate(fetchAll, JSON.parse(line));
    await settled(page);
    for (const { url, failed } of page.requests) {
      const outcome = outcomes[/\/case\/(\d+)\//.exec(url)?.[1]];
      if (outcome && failed?.cors) outcome.cors ??= failed.cors;
      if (outcome && failed) outcome.failed ??= failed.text;
    }
    console.log(JSON.stringify(outcomes));
  }
} finally {
  await browser.close();
}

/** What CORS found is told of shortly after the page knows that its fetch failed. */
async function settled(page) {
  for (let tries = 0; tries < 200; tries += 1) {
    if (page.requests.every(({ finished, failed }) => finished || failed)) return;
    await page.evaluate(() => new Promise((resolve) => setTimeout(resolve, 5)));
  }
}

/** Runs in the page. */
async function fetchAll(calls) {
  const outcomes = {};
  const waiting = [...calls];
  const worker = async () => {
    for (let call; (call = waiting.shift()); ) {
      const { id, url, init } = call;
      try {
        const response = await fetch(url, init);
        outcomes[id] = { type: response.type, status: response.status, headers: [...response.headers.keys()] };
        await response.arrayBuffer();
      } catch (error) {
        outcomes[id] ??= { raised: error.name };
      }
    }
  };
  await Promise.all(Array.from({ length: 32 }, worker));
  return outcomes;
}
