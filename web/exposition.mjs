// Prometheus text (version 0.0.4) → samples, and the few sums and quantiles that the dashboard draws.

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** @returns {Map<string, {labels: Record<string, string>, value: number}[]>} the samples of each name */
export function parse(text) {
  const samples = new Map();
  for (const line of text.split('\n')) {
    const match = line.startsWith('#') ? null : SAMPLE.exec(line);
    if (!match) continue;
    const [, name, inside = '', value] = match;
    const labels = Object.fromEntries([...inside.matchAll(LABEL)].map(([, key, raw]) => [key, raw.replace(/\\(.)/g, (_, c) => (c === 'n' ? '\n' : c))]));
    if (!samples.has(name)) samples.set(name, []);
    samples.get(name).push({ labels, value: Number(value.replace('Inf', 'Infinity')) });
  }
  return samples;
}

/** The sum over all samples of `name` whose labels are among the wanted ones. */
export function sum(samples, name, wanted = {}) {
  return matching(samples, name, wanted).reduce((total, { value }) => total + value, 0);
}

/** Sums by the value of one label. */
export function by(samples, name, label, wanted = {}) {
  const sums = new Map();
  for (const { labels, value } of matching(samples, name, wanted)) sums.set(labels[label], (sums.get(labels[label]) ?? 0) + value);
  return sums;
}

/** A histogram's cumulative counts by upper bound, over all of its labels. */
export function buckets(samples, name) {
  return new Map([...by(samples, `${name}_bucket`, 'le')].map(([bound, count]) => [Number(bound.replace('Inf', 'Infinity')), count]));
}

/** What was added to each bucket since `before` (a counter that fell was reset: then all of it is new). */
export function since(now, before) {
  const reset = [...before].some(([bound, count]) => (now.get(bound) ?? 0) < count);
  return new Map([...now].map(([bound, count]) => [bound, reset ? count : count - (before.get(bound) ?? 0)]));
}

/** The quantile, interpolated within its bucket; null for an empty histogram. */
export function quantile(histogram, q) {
  const bounds = [...histogram].sort(([a], [b]) => a - b);
  const total = bounds.at(-1)?.[1] ?? 0;
  if (total === 0) return null;
  const rank = q * total;
  let [lower, below] = [0, 0];
  for (const [upper, count] of bounds) {
    if (count >= rank && count > below) return upper === Infinity ? lower : lower + (upper - lower) * ((rank - below) / (count - below));
    [lower, below] = [upper, count];
  }
  return lower;
}

function matching(samples, name, wanted) {
  return (samples.get(name) ?? []).filter(({ labels }) => Object.entries(wanted).every(([key, value]) => labels[key] === value));
}
