// Reads /metrics every two seconds and draws what changed.
import { buckets, by, parse, quantile, since, sum } from './exposition.mjs';
import * as ledger from './ledger.mjs';

const EVERY = 2000;
/** Four minutes of history. */
const KEPT = 120;
const history = { requests: [], tokens: [], streams: [], ttft: [] };
const names = {
  requests: 'tokenway_requests_total',
  tokens: 'tokenway_tokens_total',
  ttft: 'tokenway_time_to_first_token_seconds',
  overhead: 'tokenway_gateway_overhead_seconds',
};
let before = null;

matchMedia('(prefers-color-scheme: dark)').addEventListener('change', drawAll);
addEventListener('resize', drawAll);
for (;;) {
  await update();
  await new Promise((resolve) => setTimeout(resolve, EVERY));
}

async function update() {
  try {
    const [exposition, readiness] = await Promise.all([fetch('/metrics'), fetch('/readyz')]);
    if (!exposition.ok) throw new Error(`/metrics answered ${exposition.status}`);
    const { status, config_stale, upstreams, models } = await readiness.json();
    show(parse(await exposition.text()), models);
    if (config_stale) state(`${status}, with an older configuration: the file's was refused`, 'bad');
    else if (upstreams !== 'healthy') state(`${status}, but models are left alone: see below`, 'bad');
    else state(status, status === 'ready' ? 'good' : 'bad');
  } catch {
    state('the admin listener does not answer', 'bad');
  }
}

function show(samples, models) {
  const now = {
    at: performance.now(),
    requests: sum(samples, names.requests),
    output: sum(samples, names.tokens, { direction: 'output' }),
    ttft: buckets(samples, names.ttft),
  };
  const streams = sum(samples, 'tokenway_streams_active');
  const outcomes = by(samples, names.requests, 'outcome');
  const overhead = buckets(samples, names.overhead);
  const [byCache, byRouting] = ['cache', 'routing'].map((by) => sum(samples, 'tokenway_saved_dollars_total', { by }));
  const share = ledger.cacheShare(samples);

  figure('streams', streams, `connections: ${sum(samples, 'tokenway_connections_active')}`);
  figure('requests', now.requests, `not answered whole: ${now.requests - (outcomes.get('ok') ?? 0)}`);
  figure('ttft', duration(quantile(now.ttft, 0.5)), `p99 ${duration(quantile(now.ttft, 0.99))}`);
  figure('overhead', duration(quantile(overhead, 0.5)), `p99 ${duration(quantile(overhead, 0.99))}`);
  figure('tokens', now.output, `tokens; input: ${sum(samples, names.tokens, { direction: 'input' }).toLocaleString('en')}`);
  figure('cost', ledger.dollars(sum(samples, 'tokenway_cost_dollars_total')), 'by the prices of [[models]]');
  figure('saved', ledger.dollars(ledger.saved(samples)), `cache ${ledger.dollars(byCache)}, routing ${ledger.dollars(byRouting)}`);
  figure('cache-share', share === null ? '–' : `${Math.round(share * 100)} %`, share === null ? 'no cached completion yet' : 'of completions, hits and joined');
  table('models', ledger.models(samples, models), 'No model');
  table('spenders', ledger.spenders(samples), 'Nothing spent yet');
  table('savings', ledger.savings(samples), 'Nothing saved yet');
  table('cache', ledger.cache(samples), 'Off, or not asked yet');
  table('routes', ledger.routes(samples), 'No request for auto yet');
  table('fallbacks', ledger.fallbacks(samples), 'Nobody yet');
  table('limits', ledger.limits(samples), 'Nobody refused yet');
  table('outcomes', ledger.outcomes(samples), 'No request yet');
  table('cors', ledger.cors(samples), 'No cross-origin request yet');

  if (before) {
    const seconds = (now.at - before.at) / 1000;
    const fresh = quantile(since(now.ttft, before.ttft), 0.5);
    keep('requests', Math.max(now.requests - before.requests, 0) / seconds);
    keep('tokens', Math.max(now.output - before.output, 0) / seconds);
    keep('streams', streams);
    keep('ttft', fresh === null ? null : fresh * 1000);
  }
  before = now;
  drawAll();
}

function keep(name, value) {
  history[name].push(value);
  if (history[name].length > KEPT) history[name].shift();
}

function drawAll() {
  for (const [name, values] of Object.entries(history)) draw(document.getElementById(`chart-${name}`), values);
}

/** A line over the last four minutes, the newest at the right; null leaves a gap. */
function draw(element, values) {
  const { clientWidth: width, clientHeight: height } = element;
  const ratio = devicePixelRatio || 1;
  element.width = Math.round(width * ratio);
  element.height = Math.round(height * ratio);
  const canvas = element.getContext('2d');
  canvas.scale(ratio, ratio);
  const style = getComputedStyle(element);
  const known = values.filter((value) => value !== null);
  const most = ceiling(Math.max(...known, 0));
  const x = (index) => width - 3 - (values.length - 1 - index) * ((width - 3) / (KEPT - 1));
  const y = (value) => height - 4 - (value / most) * (height - 24);

  canvas.fillStyle = style.getPropertyValue('--line');
  canvas.fillRect(0, Math.round(y(most)), width, 1);
  canvas.fillRect(0, Math.round(y(0)), width, 1);
  canvas.fillStyle = style.getPropertyValue('--soft');
  canvas.font = `11px ${style.fontFamily}`;
  canvas.textBaseline = 'bottom';
  canvas.fillText(String(most), 0, Math.round(y(most)) - 2);

  canvas.strokeStyle = canvas.fillStyle = style.getPropertyValue('--accent');
  canvas.lineWidth = 1.75;
  canvas.lineJoin = 'round';
  canvas.beginPath();
  values.forEach((value, index) => {
    if (value === null) return;
    if (index === 0 || values[index - 1] === null) canvas.moveTo(x(index), y(value));
    else canvas.lineTo(x(index), y(value));
    // a lone value has no line
    canvas.fillRect(x(index) - 1, y(value) - 1, 2, 2);
  });
  canvas.stroke();
  element.setAttribute('aria-label', known.length > 0 ? `Now ${Number(known.at(-1).toFixed(1))}, highest ${Number(Math.max(...known).toFixed(1))}.` : 'Nothing yet.');
}

function table(id, rows, empty) {
  const made = (rows.length > 0 ? rows : [[empty]]).map(([name, ...cells]) => {
    const row = document.createElement('tr');
    const head = Object.assign(document.createElement('th'), { scope: 'row', textContent: name });
    row.append(head, ...cells.map((text) => Object.assign(document.createElement('td'), { textContent: text })));
    return row;
  });
  document.getElementById(id).replaceChildren(...made);
}

function figure(id, value, remark) {
  document.getElementById(id).textContent = typeof value === 'number' ? value.toLocaleString('en') : value;
  document.getElementById(`${id}-note`).textContent = remark;
}

function state(words, kind) {
  const element = document.getElementById('state');
  element.textContent = words;
  element.dataset.state = kind;
}

function duration(seconds) {
  if (seconds === null) return '–';
  if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
  return seconds < 1 ? `${Number((seconds * 1000).toPrecision(3))} ms` : `${seconds.toFixed(2)} s`;
}

/** The next 1, 2 or 5 times a power of ten, at least 1. */
function ceiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return power * [1, 2, 5, 10].find((step) => step * power >= value);
}
