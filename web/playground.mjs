// The page itself: it reads the form, runs one stream at a time, and writes what happened into the document.
// Every word that came over the network is set as text, never as markup.
import { HEADERS, complete, models } from './chat.mjs';
import { diagnose, differences, preflightReasons, timing } from './cors.mjs';
import { Network } from './network.mjs';
import { Timeline } from './timeline.mjs';
import { StreamError } from './tokenway.js';

const { gateway } = JSON.parse(byId('settings').textContent);
const timeline = new Timeline(byId('timeline'));
const network = new Network();
const offered = new Map();
/** Aborts the running stream; null where none runs. */
let running = null;
/** Streams answered since the page was loaded: from the second on, the preflight's answer is in the browser's cache. */
let answered = 0;

byId('composer').addEventListener('submit', (event) => {
  event.preventDefault();
  run();
});
byId('stop').addEventListener('click', () => running?.abort());
byId('retry').addEventListener('click', loadModels);
byId('network').addEventListener('click', switchNetwork);
byId('model').addEventListener('change', describeModel);
document.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) run();
  if (event.key === 'Escape') running?.abort();
});
text('page-origin', location.origin);
text('gateway-origin', gateway);
loadModels();

async function loadModels() {
  hideError();
  state('connecting');
  try {
    for (const model of await models(gateway, network)) offered.set(model.id, model);
    byId('model').replaceChildren(...[...offered.keys()].map((id) => new Option(id)));
    byId('model').disabled = offered.size === 0;
    describeModel();
    state('connected', 'good');
  } catch (error) {
    await showError(error);
  }
}

async function run() {
  if (running) return;
  const prompt = byId('prompt').value.trim();
  if (prompt === '') return byId('prompt').focus();
  running = new AbortController();
  const request = { model: byId('model').value || undefined, messages: [{ role: 'user', content: prompt }] };
  const sheet = new Sheet(offered.get(request.model));
  busy(true);
  byId('cors').setAttribute('aria-busy', 'true');
  hideError();
  try {
    await complete(gateway, request, { signal: running.signal, network, take: (step) => sheet.take(step) });
    sheet.end();
  } catch (error) {
    if (running.signal.aborted) sheet.end('stopped');
    else {
      sheet.end('failed');
      await showError(error);
    }
  } finally {
    running = null;
    busy(false);
    await sheet.explain();
    byId('cors').setAttribute('aria-busy', 'false');
  }
}

/** The record of one stream, written into the page as it grows. */
class Sheet {
  #model;
  #start = performance.now();
  #last = this.#start;
  #first = null;
  #response = null;
  #deltas = 0;
  #reads = 0;
  #finish = null;
  #done = false;
  #usage = null;
  /** The cuts so far, each with when it came, and when and at which event the stream went on. */
  #cuts = [];
  #answer = byId('answer').appendChild(document.createTextNode(''));
  #reasoning = byId('reasoning').appendChild(document.createTextNode(''));

  constructor(model) {
    this.#model = model;
    byId('answer').replaceChildren(this.#answer);
    byId('reasoning').replaceChildren(this.#reasoning);
    byId('reasoning').hidden = true;
    for (const id of ['first-token', 'speed', 'tokens', 'cost']) figure(id, '–', '', '');
    text('outcome', 'waiting for the first token');
    timeline.start(this.#start);
  }

  take(step) {
    switch (step.kind) {
      case 'head':
        this.#response = step.response;
        if (step.response.ok) figure('first-token', '…', '', `status ${step.response.status} after ${ms(step.at - this.#start)}`);
        break;
      case 'cut':
        this.#cut(step);
        break;
      case 'resumed':
        this.#resumed(step);
        break;
      case 'delta':
        this.#delta(step);
        break;
      case 'usage':
        this.#usage = step.usage;
        break;
      case 'finish':
        this.#finish = step.reason;
        break;
      case 'done':
        this.#done = true;
        break;
    }
  }

  #delta({ at, text: words, reasoning }) {
    timeline.token(at);
    this.#deltas += 1;
    if (at !== this.#last) this.#reads += 1;
    this.#last = at;
    this.#answer.appendData(words);
    this.#reasoning.appendData(reasoning);
    if (reasoning) byId('reasoning').hidden = false;
    if (this.#first === null) {
      this.#first = at;
      figure('first-token', Math.round(at - this.#start), 'ms', this.#parts());
      text('outcome', 'streaming');
    }
    this.#showSpeed(this.#deltas, at);
    figure('tokens', this.#deltas, '', 'counted as events');
  }

  #cut({ at, seq, tries }) {
    if (tries === 1) {
      this.#cuts.push({ at });
      timeline.cut(at);
    }
    text('outcome', `cut at event ${seq}; reconnecting, try ${tries}`);
  }

  #resumed({ at, seq, response }) {
    const cut = this.#cuts.at(-1);
    Object.assign(cut, { seq, url: response.url });
    timeline.mended(at);
    text('outcome', `resumed at event ${seq}, after ${ms(at - cut.at)}`);
  }

  /** How the time to the first token splits up, as far as the gateway says. */
  #parts() {
    const header = this.#response.headers.get('server-timing') ?? '';
    const parts = [...header.matchAll(/([\w-]+)\s*;\s*dur=([\d.]+)/g)].map(([, name, dur]) => `${name} ${Number(dur).toFixed(dur < 10 ? 1 : 0)}`);
    return parts.length > 0 ? `${parts.join(', ')} ms` : '';
  }

  #showSpeed(tokens, at) {
    const each = (at - this.#first) / (tokens - 1);
    if (each > 0) figure('speed', (1000 / each).toFixed(1), 'tokens/s', `one every ${ms(each)}`);
  }

  /** @param {'stopped' | 'failed' | undefined} how */
  end(how) {
    const now = performance.now();
    timeline.end(now);
    const took = `${((now - this.#start) / 1000).toFixed(2)} s`;
    const whole = this.#done ? `finished (${this.#finish ?? 'no reason given'}) in ${took}` : `ended without [DONE] after ${took}`;
    text('outcome', { stopped: `stopped by you after ${took}`, failed: this.#first ? `broke off after ${took}` : 'no answer' }[how] ?? whole);
    if (this.#usage) this.#showUsage();
    const together = this.#deltas === this.#reads ? 'none waited for another' : 'some came together';
    const cuts = this.#done && this.#cuts.length > 0 ? ` ${this.#survived()}` : '';
    const arrival = this.#deltas > 0 ? `${count(this.#deltas, 'token')} in ${count(this.#reads, 'read')} from the network: ${together}.${cuts}` : 'Nothing arrived.';
    text('arrival', arrival);
    byId('timeline').setAttribute('aria-label', `${arrival} First token after ${byId('first-token').textContent}, speed ${byId('speed').textContent}.`);
  }

  #survived() {
    return `${count(this.#cuts.length, 'cut')}, resumed at event ${list(this.#cuts.map(({ seq }) => String(seq)))}: no token lost, none doubled.`;
  }

  #showUsage() {
    const { prompt_tokens: input = 0, completion_tokens: output = 0 } = this.#usage;
    figure('tokens', output, '', `and ${input} in the prompt`);
    if (this.#first !== null) this.#showSpeed(output, this.#last);
    this.#showCost(input, output);
  }

  /** By the price of the model that answered: another one than the chosen one after a fallback, or where `auto` decided. */
  #showCost(input, output) {
    const header = (name) => this.#response.headers.get(name);
    const [name, decided, cached] = [header('tokenway-model') ?? this.#model?.id, header('tokenway-route'), header('tokenway-cache')];
    const who = name === this.#model?.id ? '' : [name, decided?.replace(';by=', ', by ')].filter(Boolean).join(': ');
    const note = (rest) => [who, rest].filter(Boolean).join('; ');
    if (cached === 'hit') return figure('cost', '$0', '', note('kept by the cache'));
    if (cached === 'joined') return figure('cost', '$0', '', note('another request pays'));
    const { input_price, output_price } = offered.get(name) ?? {};
    if (!input_price || !output_price) return figure('cost', '–', '', note('no price configured'));
    const dollars = (input * Number(input_price) + output * Number(output_price)) / 1e6;
    figure('cost', `$${dollars === 0 ? '0' : dollars.toPrecision(2).includes('e') ? dollars.toFixed(8) : dollars.toPrecision(2)}`, '', note(`$${input_price} in, $${output_price} out per million`));
  }

  /** Says what CORS did, once Resource Timing has its entry for the request. */
  async explain() {
    if (!this.#response) return;
    const url = `${gateway}/v1/chat/completions`;
    const measured = timing(await entryOf(url, this.#start));
    const reasons = preflightReasons('POST', HEADERS);
    const kept = answered > 0;
    answered += 1;
    const before = measured ? `, ${ms(measured.before)} before the request left` : '';
    showCors([
      ['Origin', code(location.origin), note(`Sent with the request, because ${list(differences(location.origin, gateway))} differ from the gateway’s. Allowed.`)],
      ['Preflight', kept ? `Remembered${before}` : `Asked first${before}`,
        note(kept ? 'The browser keeps the permission for cors.max_age; while it lasts no OPTIONS is sent.' : `OPTIONS went ahead of POST: ${list(reasons)}. The next request saves this round trip.`)],
      ...this.#resumedWith(),
      ['Readable', chips([...this.#response.headers.keys()]), note('The response headers that this page may read; the browser hides all others.')],
      ['Transport', measured ? `${measured.protocol} over TLS` : 'not disclosed', note(measured ? 'Timing is readable because the gateway sent Timing-Allow-Origin.' : 'The gateway sent no Timing-Allow-Origin.')],
    ]);
  }

  #resumedWith() {
    const urls = this.#cuts.flatMap(({ url }) => (url ? [url.slice(gateway.length)] : []));
    if (urls.length === 0) return [];
    return [['Resumed', element('span', ...urls.flatMap((url, index) => [...(index > 0 ? [element('br')] : []), code(`GET ${url.replace(/(st_....).*(....\?)/, '$1…$2')}`)])), note('A plain GET from the last event that the page had: it needs no preflight.')]];
  }
}

/** The error in words, with what the gateway said of it, or the possible causes where the browser hides all. */
async function showError(error) {
  const card = byId('error');
  const facts = byId('error-facts');
  const causes = byId('error-causes');
  facts.replaceChildren();
  causes.hidden = true;
  byId('retry').hidden = offered.size > 0;
  if (error instanceof StreamError) {
    const inStream = error.status === undefined;
    text('error-title', inStream ? 'The stream broke' : 'The gateway refused');
    text('error-message', error.message);
    const rows = { Status: inStream ? `200, then ${error.code === 'cut' ? 'a cut' : 'an error event'}` : error.status, Code: error.code, 'Request id': error.requestId };
    for (const [name, value] of Object.entries(rows)) if (value !== undefined) facts.append(element('dt', name), element('dd', code(value)));
    state('connected', 'good');
  } else if (error instanceof TypeError && network.isCut) {
    text('error-title', 'The network is cut');
    text('error-message', 'By the switch of this page. Turn it off, and send again.');
  } else if (error instanceof TypeError) {
    const verdict = await diagnose(gateway);
    text('error-title', verdict === 'refused' ? 'The gateway refused this page’s origin' : 'The gateway cannot be reached');
    text('error-message', 'The browser tells a page nothing about a failed cross-origin request, only “failed to fetch”. A test request without CORS '
      + (verdict === 'refused' ? 'went through, which leaves one cause.' : 'failed too, which leaves two.'));
    causes.replaceChildren(...causesOf(verdict));
    causes.hidden = false;
    state(verdict === 'refused' ? 'origin refused' : 'not reachable', 'bad');
  } else {
    text('error-title', 'The page failed');
    text('error-message', String(error));
  }
  card.hidden = false;
}

/** Cuts the network off, or mends it. */
function switchNetwork() {
  const cut = byId('network').getAttribute('aria-checked') !== 'true';
  byId('network').setAttribute('aria-checked', String(cut));
  if (cut) {
    network.cut();
    state('network cut', 'bad');
  } else {
    network.mend();
    if (offered.size > 0) state('connected', 'good');
    else loadModels();
  }
}

function causesOf(verdict) {
  const open = element('a', `${gateway}/healthz`);
  Object.assign(open, { href: `${gateway}/healthz`, target: '_blank', rel: 'noopener' });
  const causes = [
    ['unreachable', 'The certificate is not trusted. Open ', open, ' once and accept it, or trust ', code('certs/ca.pem'), ' on this machine.'],
    ['unreachable', 'The gateway is not running, or listens elsewhere. Start it with ', code('tokenway'), ' and compare the URL that it prints.'],
    ['refused', 'The origin is not allowed. Add ', code(`"${location.origin}"`), ' to ', code('cors.origins'), ' in the configuration.'],
  ];
  const likely = causes.filter(([when]) => when === verdict).map(([, ...content]) => element('li', ...content));
  const ruledOut = causes.filter(([when]) => when !== verdict).map(([, ...content]) => {
    const item = element('li', 'Ruled out: ', ...content);
    item.className = 'ruled-out';
    return item;
  });
  return [...likely, ...ruledOut];
}

function hideError() {
  byId('error').hidden = true;
}

function describeModel() {
  const { context, input_price, output_price } = offered.get(byId('model').value) ?? {};
  const size = context ? `${context >= 1000 ? `${Math.round(context / 1000)}K` : context} context` : '';
  const price = input_price ? `$${input_price} in, $${output_price} out` : '';
  text('model-note', [size, price].filter(Boolean).join(' · '));
}

function busy(yes) {
  byId('send').disabled = yes;
  byId('stop').disabled = !yes;
  byId('answer').setAttribute('aria-busy', String(yes));
}

function state(words, kind = '') {
  text('gateway-state', words);
  byId('gateway-state').dataset.state = kind;
}

function figure(id, value, unit, remark) {
  byId(id).replaceChildren(String(value), ...(unit ? [' ', element('small', unit)] : []));
  text(`${id}-note`, remark);
}

function showCors(rows) {
  byId('cors-empty').hidden = true;
  byId('cors').replaceChildren(...rows.flatMap(([name, first, ...rest]) => [
    element('dt', name),
    element('dd', first instanceof HTMLUListElement ? first : element('p', first), ...rest),
  ]));
}

/** Resource Timing adds its entry shortly after the body's end. */
async function entryOf(url, since) {
  const find = () => performance.getEntriesByName(url).findLast((entry) => entry.startTime >= since - 1);
  for (let tries = 0; tries < 10 && !find(); tries += 1) await new Promise((resolve) => setTimeout(resolve, 20));
  const entry = find();
  performance.clearResourceTimings();
  return entry;
}

function byId(id) {
  return document.getElementById(id);
}

function text(id, words) {
  byId(id).textContent = words;
}

function element(name, ...content) {
  const made = document.createElement(name);
  made.append(...content);
  return made;
}

function code(words) {
  return element('code', words);
}

function note(words) {
  const made = element('p', words);
  made.className = 'note';
  return made;
}

function chips(words) {
  return element('ul', ...words.map((word) => element('li', word)));
}

function list(words) {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
}

function count(number, name) {
  return `${number} ${name}${number === 1 ? '' : 's'}`;
}

function ms(value) {
  return value < 10 ? `${value.toFixed(1)} ms` : `${Math.round(value)} ms`;
}
