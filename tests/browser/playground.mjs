// The playground in a real browser: a stream, the stop button, errors, and pictures of it.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const DESKTOP = { width: 1280, height: 860, deviceScaleFactor: 1, mobile: false };
const PHONE = { width: 360, height: 740, deviceScaleFactor: 2, mobile: true };

/** Two streams to their end and one stopped, with pictures in `pictures` (a directory). */
export async function playground({ browser, url, pictures, prompt }) {
  mkdirSync(pictures, { recursive: true });
  const page = await open(browser, url);
  await page.until(() => document.getElementById('gateway-state').dataset.state === 'good');
  const models = await page.evaluate(() => [...document.getElementById('model').options].map(({ value }) => value));

  await page.evaluate((prompt) => { document.getElementById('prompt').value = prompt; }, prompt);
  await page.press('Enter', { modifiers: 2 });
  await page.until(() => document.getElementById('answer').textContent.length > 40);
  writeFileSync(join(pictures, 'streaming.png'), await page.screenshot());
  const first = await finished(page);
  for (const [name, scheme, metrics] of [['light', 'light', DESKTOP], ['dark', 'dark', DESKTOP], ['phone', 'light', PHONE], ['phone-dark', 'dark', PHONE]]) {
    await look(page, scheme, metrics);
    writeFileSync(join(pictures, `${name}.png`), await page.screenshot({ whole: metrics.mobile }));
  }
  const phoneWidth = await page.evaluate(() => document.documentElement.scrollWidth);

  await page.evaluate(() => document.getElementById('send').click());
  const second = await finished(page);

  await page.evaluate(() => document.getElementById('send').click());
  await page.until(() => document.getElementById('answer').textContent.length > 40);
  await page.press('Escape');
  const stopped = await finished(page);
  return { models, first, second, stopped, phone_width: phoneWidth, complaints: page.complaints };
}

/** A stream whose network is cut by the switch and mended, with pictures; then a prompt while the network is cut. */
export async function playgroundCut({ browser, url, pictures }) {
  mkdirSync(pictures, { recursive: true });
  const page = await open(browser, url);
  await page.until(() => document.getElementById('gateway-state').dataset.state === 'good');
  const press = (id) => page.evaluate((id) => document.getElementById(id).click(), id);
  await press('send');
  await page.until(() => document.getElementById('answer').textContent.length > 60);
  await press('network');
  // the second try has failed: a pause of at most two seconds begins, and the switch ends it
  await page.until(() => document.getElementById('outcome').textContent.includes('try 2'));
  const cut = await page.evaluate(() => ({ outcome: document.getElementById('outcome').textContent, answer: document.getElementById('answer').textContent }));
  for (const [name, scheme, metrics] of [['cut', 'light', DESKTOP], ['cut-phone-dark', 'dark', PHONE]]) {
    await look(page, scheme, metrics);
    writeFileSync(join(pictures, `${name}.png`), await page.screenshot({ whole: metrics.mobile }));
  }
  await look(page, 'light', DESKTOP);
  await press('network');
  const resumed = await finished(page);
  for (const [name, scheme, metrics] of [['resumed', 'light', DESKTOP], ['resumed-dark', 'dark', DESKTOP], ['resumed-phone', 'light', PHONE]]) {
    await look(page, scheme, metrics);
    writeFileSync(join(pictures, `${name}.png`), await page.screenshot({ whole: metrics.mobile }));
  }
  await press('network');
  await press('send');
  const refused = await complaint(page);
  return { cut, resumed, refused, complaints: page.complaints };
}

/** What the page says of a gateway that refuses: an unknown model; then, from `refused_url`, the page's own origin. */
export async function playgroundErrors({ browser, url, refused_url: refusedUrl, unreachable_url: unreachableUrl }) {
  const page = await open(browser, url);
  await page.until(() => document.getElementById('gateway-state').dataset.state === 'good');
  await page.evaluate(() => {
    document.getElementById('model').append(new Option('no-such-model', 'no-such-model', true, true));
    document.getElementById('send').click();
  });
  const unknownModel = await complaint(page);
  const refused = await complaint(await open(browser, refusedUrl));
  const unreachable = await complaint(await open(browser, unreachableUrl));
  return { unknown_model: unknownModel, refused, unreachable };
}

/** The dashboard on a desktop and on a phone, with pictures: what its figures and tables say. */
export async function dashboard({ browser, url, pictures }) {
  mkdirSync(pictures, { recursive: true });
  const page = await open(browser, url);
  await page.until(() => document.getElementById('state').dataset.state);
  for (const [name, scheme, metrics] of [['dashboard', 'light', DESKTOP], ['dashboard-phone-dark', 'dark', PHONE]]) {
    await look(page, scheme, metrics);
    writeFileSync(join(pictures, `${name}.png`), await page.screenshot({ whole: true }));
  }
  return page.evaluate(() => ({
    width: document.documentElement.scrollWidth,
    state: document.getElementById('state').textContent,
    figures: Object.fromEntries([...document.querySelectorAll('.figure dd[id]')].map(({ id, textContent }) => [id, textContent])),
    tables: Object.fromEntries([...document.querySelectorAll('tbody')].map(({ id, rows }) => [id, [...rows].map(({ cells }) => [...cells].map(({ textContent }) => textContent))])),
  })).then((seen) => ({ ...seen, complaints: page.complaints }));
}

async function open(browser, url) {
  const page = await browser.newPage();
  await look(page, 'light', DESKTOP);
  await page.goto(url);
  return page;
}

async function look(page, scheme, metrics) {
  await page.call('Emulation.setDeviceMetricsOverride', metrics);
  await page.call('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: scheme }] });
  // two frames: the style is applied, then the canvas is drawn anew
  await page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
}

/** The page's record of a stream, once it has ended and CORS is explained. */
async function finished(page) {
  await page.until(() => document.getElementById('cors').getAttribute('aria-busy') === 'false');
  return page.evaluate(() => Object.fromEntries(
    ['answer', 'outcome', 'first-token', 'first-token-note', 'speed', 'tokens', 'tokens-note', 'cost', 'arrival', 'cors']
      .map((id) => [id.replaceAll('-', '_'), document.getElementById(id).textContent]),
  ));
}

async function complaint(page) {
  await page.until(() => !document.getElementById('error').hidden);
  return page.evaluate(() => ({
    title: document.getElementById('error-title').textContent,
    text: document.getElementById('error').textContent,
    facts: [...document.querySelectorAll('#error-facts dd')].map((fact) => fact.textContent),
    causes: [...document.querySelectorAll('#error-causes li')].map((cause) => cause.textContent),
  }));
}
