// Debian's Chromium, driven over the DevTools protocol through a pipe (file descriptors 3 and 4): no port, no package.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FLAGS = [
  '--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--no-default-browser-check',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--disable-extensions',
  '--disable-dev-shm-usage', '--remote-debugging-pipe',
];

/** A running browser with a fresh profile. `close()` ends it and removes the profile. */
export class Chromium {
  #process;
  #profile;
  #calls = new Map();
  #sessions = new Map();
  #lastId = 0;

  /**
   * @param {{spki?: string[], flags?: string[], preferences?: object}} options `spki`: base64 SHA-256 hashes of the leaf keys to
   * trust. `preferences`: of the profile, where they are not to be the distribution's.
   */
  static async launch({ spki = [], flags = [], preferences } = {}) {
    const browser = new Chromium();
    browser.#profile = mkdtempSync(join(tmpdir(), 'tokenway-chromium-'));
    if (preferences) {
      mkdirSync(join(browser.#profile, 'Default'));
      writeFileSync(join(browser.#profile, 'Default', 'Preferences'), JSON.stringify(preferences));
    }
    const trust = spki.length > 0 ? [`--ignore-certificate-errors-spki-list=${spki.join(',')}`] : [];
    browser.#process = spawn(
      process.env.CHROMIUM ?? 'chromium',
      [...FLAGS, ...trust, ...flags, `--user-data-dir=${browser.#profile}`, 'about:blank'],
      { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] },
    );
    browser.#listen();
    await browser.call('Browser.getVersion');
    return browser;
  }

  /** Calls a method of the protocol; rejects with the protocol's message. */
  call(method, params = {}, sessionId = undefined) {
    const id = ++this.#lastId;
    return new Promise((resolve, reject) => {
      this.#calls.set(id, { method, resolve, reject });
      this.#process.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + '\0');
    });
  }

  /** Opens a page in a browser context of its own, so that no cookie, cache or preflight is shared; or in that of another page. */
  async newPage({ beside } = {}) {
    const browserContextId = beside?.context ?? (await this.call('Target.createBrowserContext')).browserContextId;
    const { targetId } = await this.call('Target.createTarget', { url: 'about:blank', browserContextId });
    const { sessionId } = await this.call('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, sessionId, browserContextId);
    this.#sessions.set(sessionId, page);
    await Promise.all([page.call('Page.enable'), page.call('Network.enable'), page.call('Runtime.enable'), page.call('Log.enable')]);
    return page;
  }

  async close() {
    const ended = new Promise((resolve) => {
      if (this.#process.exitCode !== null || this.#process.signalCode !== null) resolve();
      else this.#process.once('exit', resolve);
    });
    this.call('Browser.close').catch(() => {});
    const patience = setTimeout(() => this.#process.kill('SIGKILL'), 10_000);
    await ended;
    clearTimeout(patience);
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  #listen() {
    const failAll = (reason) => {
      for (const { method, reject } of this.#calls.values()) reject(new Error(`${method}: ${reason}`));
      this.#calls.clear();
    };
    this.#process.once('error', (error) => failAll(`${error.message} (is chromium installed? scripts/setup installs it)`));
    this.#process.once('exit', (code, signal) => failAll(`chromium ended (${signal ?? code})`));
    this.#process.stdio[3].on('error', () => {});
    let rest = '';
    this.#process.stdio[4].setEncoding('utf8').on('data', (text) => {
      const messages = (rest + text).split('\0');
      rest = messages.pop();
      for (const message of messages) this.#receive(JSON.parse(message));
    });
  }

  #receive({ id, method, params, result, error, sessionId }) {
    if (id === undefined) {
      this.#sessions.get(sessionId)?.receive(method, params);
      return;
    }
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    if (error) call?.reject(new Error(`${call.method}: ${error.message}`));
    else call?.resolve(result);
  }
}

/** One tab. It records what the network and the console did from its first moment. */
export class Page {
  #browser;
  #session;
  #listeners = new Map();
  #lasting = new Set();
  #early = new Map();
  /** Requests in the order in which they were sent, preflights among them. */
  requests = [];
  /** What the page or the browser wrote to the console as an error, and uncaught exceptions. */
  complaints = [];

  constructor(browser, session, context) {
    this.#browser = browser;
    this.#session = session;
    this.context = context;
  }

  call(method, params = {}) {
    return this.#browser.call(method, params, this.#session);
  }

  /** Goes to `url` and waits until it is loaded. */
  async goto(url) {
    const loaded = this.once('Page.loadEventFired');
    const { errorText } = await this.call('Page.navigate', { url });
    if (errorText) throw new Error(`${url}: ${errorText}`);
    await loaded;
  }

  /** Evaluates `expression`, or calls `code` with JSON arguments, in the page; promises are awaited. */
  async evaluate(code, ...args) {
    const expression = typeof code === 'function' ? `(${code})(...${JSON.stringify(args)})` : code;
    const { result, exceptionDetails } = await this.call('Runtime.evaluate', {
      expression, awaitPromise: true, returnByValue: true, userGesture: true,
    });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  }

  /** Resolves when `predicate` (a function or an expression) is true in the page; checked on every frame. */
  async until(predicate, { within = 60_000 } = {}) {
    const code = typeof predicate === 'function' ? `(${predicate})()` : predicate;
    const met = await this.evaluate(`new Promise((resolve) => {
      const end = performance.now() + ${within};
      const check = () => { if (${code}) resolve(true); else if (performance.now() > end) resolve(false); else setTimeout(check, 16); };
      check();
    })`);
    if (!met) throw new Error(`not within ${within} ms: ${code}`);
  }

  /** The next event of this name. */
  once(method) {
    return new Promise((resolve) => {
      this.#listeners.set(method, [...(this.#listeners.get(method) ?? []), resolve]);
    });
  }

  /** Calls `listener` with each event of this name. */
  on(method, listener) {
    this.#listeners.set(method, [...(this.#listeners.get(method) ?? []), listener]);
    this.#lasting.add(listener);
  }

  /** Presses a key with modifiers (1 Alt, 2 Ctrl, 4 Meta, 8 Shift). */
  async press(key, { modifiers = 0, code = key, windowsVirtualKeyCode = { Enter: 13, Escape: 27, Tab: 9 }[key] } = {}) {
    const event = { key, code, modifiers, windowsVirtualKeyCode };
    await this.call('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.call('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  /** Closes the tab. */
  close() {
    return this.call('Page.close');
  }

  /** A PNG of the viewport, or of the whole page. */
  async screenshot({ whole = false } = {}) {
    const { data } = await this.call('Page.captureScreenshot', { format: 'png', captureBeyondViewport: whole });
    return Buffer.from(data, 'base64');
  }

  receive(method, params) {
    const request = this.requests.findLast(({ id }) => id === params.requestId);
    if (!request && method.endsWith('ExtraInfo')) {
      const early = this.#early.get(params.requestId) ?? [];
      this.#early.set(params.requestId, [...early, () => this.receive(method, params)]);
      return;
    }
    switch (method) {
      case 'Network.requestWillBeSent':
        this.requests.push({
          id: params.requestId, url: params.request.url, method: params.request.method, type: params.type,
          headers: lowerCased(params.request.headers),
        });
        // the protocol promises no order between a request and its headers on the wire
        for (const early of this.#early.get(params.requestId) ?? []) early();
        this.#early.delete(params.requestId);
        break;
      case 'Network.responseReceived':
        if (request) {
          request.status = params.response.status;
          request.protocol = params.response.protocol;
          request.responseHeaders ??= lowerCased(params.response.headers);
        }
        break;
      case 'Network.requestWillBeSentExtraInfo':
        Object.assign(request, { headers: { ...request.headers, ...lowerCased(params.headers) }, onWire: true });
        break;
      case 'Network.responseReceivedExtraInfo':
        // the headers on the wire, before CORS hides any
        request.responseHeaders = lowerCased(params.headers);
        request.status ??= params.statusCode;
        break;
      case 'Network.loadingFailed':
        if (request) request.failed = { text: params.errorText, cors: params.corsErrorStatus?.corsError ?? null, canceled: params.canceled ?? false };
        break;
      case 'Network.loadingFinished':
        if (request) request.finished = true;
        break;
      case 'Log.entryAdded':
        if (params.entry.level === 'error') this.complaints.push(params.entry.text);
        break;
      case 'Runtime.exceptionThrown':
        this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
        break;
      case 'Runtime.consoleAPICalled':
        if (params.type === 'error') this.complaints.push(params.args.map(({ value }) => value).join(' '));
        break;
    }
    const waiting = this.#listeners.get(method) ?? [];
    this.#listeners.set(method, waiting.filter((listener) => this.#lasting.has(listener)));
    for (const listener of waiting) listener(params);
  }
}

function lowerCased(headers) {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
}
