// What the dashboard's tables say, out of the samples of /metrics: rows of cells, those that count most first.
import { by, sum } from './exposition.mjs';

const HEALTH = { closed: 'good', probing: 'probing', open: 'left alone' };

/** Model, health, requests and cost of each model that is configured (`models` of /readyz), and of those that were. */
export function models(samples, configured) {
  const requests = by(samples, 'tokenway_requests_total', 'model');
  const cost = by(samples, 'tokenway_cost_dollars_total', 'model');
  const row = (name, health) => [name, health, count(requests.get(name) ?? 0), dollars(cost.get(name) ?? 0)];
  const known = new Set(configured.map(({ model }) => model));
  const gone = [...cost.keys()].filter((name) => !known.has(name)).map((name) => row(name, 'not configured'));
  return [...configured.map((shown) => row(shown.model, healthOf(shown))), ...gone];
}

/** In words; the upstream's trouble is the model's, too. */
function healthOf({ upstream, health, upstream_health: upstreamHealth }) {
  return upstreamHealth === 'closed' ? HEALTH[health] : `${upstream}: ${HEALTH[upstreamHealth]}`;
}

/** What was not spent, less what routing cost more than the baseline model would have. */
export function saved(samples) {
  return sum(samples, 'tokenway_saved_dollars_total') - sum(samples, 'tokenway_lost_dollars_total');
}

/** By cache, joining and routing; what routing lost, below zero. */
export function savings(samples) {
  const lost = by(samples, 'tokenway_lost_dollars_total', 'by');
  return [
    ...ranked(by(samples, 'tokenway_saved_dollars_total', 'by')),
    ...ranked(lost).map(([name, value]) => [`${name}, lost`, -value]),
  ].map(([name, value]) => [name, dollars(value)]);
}

/** Callers, then pages, and what each of them has spent. */
export function spenders(samples) {
  const pages = by(samples, 'tokenway_origin_cost_dollars_total', 'origin');
  const callers = ranked(by(samples, 'tokenway_caller_cost_dollars_total', 'caller')).map(([name, value]) => [`caller ${name}`, value]);
  const origins = ranked(pages).map(([name, value]) => [name === 'none' ? 'without a page' : `page ${name}`, value]);
  return [...callers, ...origins].map(([name, value]) => [name, dollars(value)]);
}

/** Of the completions in which the cache had a part, how many were answered without asking a model; null before the first. */
export function cacheShare(samples) {
  const results = by(samples, 'tokenway_cache_total', 'result');
  const [hit, joined, miss] = ['hit', 'joined', 'miss'].map((result) => results.get(result) ?? 0);
  return hit + joined + miss === 0 ? null : (hit + joined) / (hit + joined + miss);
}

/** Completions by what the cache had to do with them. */
export function cache(samples) {
  return counted(by(samples, 'tokenway_cache_total', 'result'));
}

/** What `auto` was decided to mean, and by whom; then why the classifier did not decide. */
export function routes(samples) {
  const decided = rows(samples, 'tokenway_routes_total', ({ verdict, by: decider }) => [`${verdict}, by ${words(decider)}`]);
  return [...decided, ...rows(samples, 'tokenway_classifier_failures_total', ({ reason }) => [`no verdict: ${words(reason)}`])];
}

/** From, to, why, how often: who was asked instead or as well; then the attempts that the budgets did not allow. */
export function fallbacks(samples) {
  const instead = rows(samples, 'tokenway_fallbacks_total', ({ from, to, reason }) => [from, to, words(reason)]);
  const beside = rows(samples, 'tokenway_hedges_total', ({ from, to, result }) => [from, to, `slow; ${words(result)}`]);
  const not = rows(samples, 'tokenway_retry_budget_exhausted_total', ({ budget }) => ['any', 'nobody', `${words(budget)} budget spent`]);
  return [...instead, ...beside, ...not];
}

/** What callers were refused, or given a cheaper model for. */
export function limits(samples) {
  return [
    ...rows(samples, 'tokenway_rate_limited_total', ({ limit }) => [`limit: ${words(limit)}`]),
    ...rows(samples, 'tokenway_budget_exceeded_total', ({ action }) => [`budget of the day: ${words(action)}`]),
    ...rows(samples, 'tokenway_credentials_refused_total', ({ credential, reason }) => [`${words(credential)}: ${words(reason)}`]),
  ];
}

/** How requests ended. */
export function outcomes(samples) {
  return counted(by(samples, 'tokenway_requests_total', 'outcome'));
}

/** Preflights and requests of pages, and what was decided. */
export function cors(samples) {
  return rows(samples, 'tokenway_cors_total', ({ kind, verdict }) => [`${kind}: ${words(verdict)}`]);
}

/** Cents matter where there are dollars, and a thousandth of one where there are none. */
export function dollars(value) {
  const size = Math.abs(value);
  const digits = size === 0 || size >= 100 ? 2 : size >= 0.01 ? 4 : 6;
  return `${value < 0 ? '−' : ''}$${size.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits })}`;
}

/** A count, with its thousands apart. */
export function count(value) {
  return value.toLocaleString('en');
}

/** The samples of one metric that have counted something, each behind the cells that its labels give. */
function rows(samples, name, cells) {
  const sums = (samples.get(name) ?? []).map(({ labels, value }) => [cells(labels), value]);
  return ranked(sums).map(([cells, value]) => [...cells, count(value)]);
}

function counted(sums) {
  return ranked(sums).map(([name, value]) => [words(name), count(value)]);
}

function ranked(sums) {
  return [...sums].filter(([, value]) => value > 0).sort(([, a], [, b]) => b - a);
}

function words(label) {
  return label.replaceAll('_', ' ');
}
