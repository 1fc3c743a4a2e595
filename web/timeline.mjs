// The arrival of a stream, drawn: tokens per second above, one tick for each read from the network below.

const AXIS = 18;
const RASTER = 34;
const GAP = 12;
const TOP = 16;
/** Milliseconds over which the speed is averaged. */
const WINDOW = 800;
const SPANS = [1000, 2000, 3000, 5000, 8000, 12000, 20000, 30000, 60000, 120000, 300000, 600000, 1800000];

/** All times are performance.now() milliseconds. */
export class Timeline {
  #canvas;
  #frame = 0;
  #start = 0;
  #end = null;
  #first = null;
  #tokens = [];
  /** Times without a connection: `[from, to]`, the last one perhaps without its end. */
  #cuts = [];

  constructor(canvas) {
    this.#canvas = canvas;
    new ResizeObserver(() => this.#draw()).observe(canvas);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
  }

  start(at) {
    this.#start = at;
    this.#end = this.#first = null;
    this.#tokens = [];
    this.#cuts = [];
    this.#animate();
  }

  /** A token; those of one read from the network have the same time. */
  token(at) {
    this.#first ??= at - this.#start;
    this.#tokens.push(at - this.#start);
  }

  cut(at) {
    this.#cuts.push([at - this.#start]);
  }

  mended(at) {
    this.#cuts.at(-1)[1] = at - this.#start;
  }

  end(at) {
    this.#end = at - this.#start;
    cancelAnimationFrame(this.#frame);
    this.#draw();
  }

  #animate() {
    this.#draw();
    this.#frame = requestAnimationFrame(() => this.#animate());
  }

  #draw() {
    const { canvas, width, height } = this.#size();
    const style = getComputedStyle(this.#canvas);
    const colour = (name) => style.getPropertyValue(`--${name}`);
    canvas.clearRect(0, 0, width, height);
    canvas.font = `11px ${style.fontFamily}`;

    const elapsed = this.#start === 0 ? 0 : this.#end ?? performance.now() - this.#start;
    const span = this.#end ? Math.max(this.#end, 200) : SPANS.find((span) => span >= elapsed * 1.02) ?? elapsed;
    const x = (time) => (time / span) * (width - 1);
    const floor = height - AXIS - RASTER - GAP;

    this.#drawAxis(canvas, { x, span, width, height, colour });
    if (this.#start === 0) return;
    this.#drawWait(canvas, { x, elapsed, height, colour });
    this.#drawCuts(canvas, { x, elapsed, height, colour });
    this.#drawSpeed(canvas, { x, elapsed, floor, width, colour });
    this.#drawReads(canvas, { x, height, colour });
  }

  /** Scales the bitmap to the screen's pixels. */
  #size() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = devicePixelRatio || 1;
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    const canvas = this.#canvas.getContext('2d');
    canvas.setTransform(ratio, 0, 0, ratio, 0, 0);
    return { canvas, width, height };
  }

  #drawAxis(canvas, { x, span, width, height, colour }) {
    const step = [100, 200, 500, 1000, 2000, 5000, 10000, 30000, 60000, 300000].find((step) => (step / span) * width >= 52) ?? span;
    canvas.fillStyle = colour('line');
    canvas.fillRect(0, height - AXIS, width, 1);
    canvas.textBaseline = 'bottom';
    for (let time = 0; time <= span; time += step) {
      const label = time === 0 ? '0' : `${Number((time / 1000).toFixed(1))} s`;
      const left = Math.round(x(time));
      canvas.fillStyle = colour('line');
      canvas.fillRect(Math.min(left, width - 1), height - AXIS, 1, 4);
      canvas.textAlign = time === 0 ? 'left' : left > width - 16 ? 'right' : 'center';
      canvas.fillStyle = colour('soft');
      canvas.fillText(label, left, height);
    }
  }

  /** The time before the first token, and the line at which it came. */
  #drawWait(canvas, { x, elapsed, height, colour }) {
    const until = x(this.#first ?? elapsed);
    canvas.fillStyle = colour('accent-wash');
    canvas.fillRect(0, TOP, until, height - AXIS - TOP);
    if (this.#first === null) return;
    canvas.fillStyle = colour('mark');
    canvas.fillRect(Math.round(until), TOP, 1, height - AXIS - TOP);
    canvas.textBaseline = 'top';
    canvas.textAlign = 'left';
    canvas.fillText(`first token ${Math.round(this.#first)} ms`, Math.min(until + 5, canvas.canvas.clientWidth - 110), 0);
  }

  #drawCuts(canvas, { x, elapsed, height, colour }) {
    canvas.textBaseline = 'top';
    canvas.textAlign = 'left';
    for (const [from, to = elapsed] of this.#cuts) {
      const [left, right] = [Math.round(x(from)), Math.round(x(to))];
      canvas.fillStyle = colour('bad-wash');
      canvas.fillRect(left, TOP, right - left, height - AXIS - TOP);
      canvas.fillStyle = colour('bad');
      canvas.fillRect(left, TOP, 1, height - AXIS - TOP);
      if (right - left > 20) canvas.fillText('cut', left + 4, TOP + 2);
    }
  }

  #drawSpeed(canvas, { x, elapsed, floor, width, colour }) {
    if (this.#tokens.length < 2) return;
    const last = this.#end === null ? elapsed : this.#tokens.at(-1);
    const samples = this.#speeds(last, Math.max((last - this.#first) / 160, 20));
    const most = niceCeiling(Math.max(...samples.map(({ speed }) => speed)));
    const y = (speed) => floor - (speed / most) * (floor - TOP - 14);

    canvas.fillStyle = colour('line');
    canvas.fillRect(0, Math.round(y(most)), width, 1);
    canvas.fillRect(0, floor, width, 1);
    canvas.fillStyle = colour('soft');
    canvas.textAlign = 'right';
    canvas.textBaseline = 'bottom';
    canvas.fillText(`${most} tokens/s`, width, Math.round(y(most)) - 2);

    const line = new Path2D();
    for (const { at, speed } of samples) line.lineTo(x(at), y(speed));
    const area = new Path2D(line);
    area.lineTo(x(samples.at(-1).at), floor);
    area.lineTo(x(samples[0].at), floor);
    canvas.fillStyle = colour('accent-wash');
    canvas.fill(area);
    canvas.strokeStyle = colour('accent');
    canvas.lineWidth = 1.75;
    canvas.lineJoin = 'round';
    canvas.stroke(line);
  }

  /** Tokens per second over the last WINDOW (or what there is of it), sampled every `step` milliseconds. */
  #speeds(last, step) {
    const samples = [];
    let [before, upTo] = [0, 0];
    const begin = Math.min(this.#first + WINDOW / 4, last);
    for (let at = begin; ; at = Math.min(at + step, last)) {
      while (upTo < this.#tokens.length && this.#tokens[upTo] <= at) upTo += 1;
      while (this.#tokens[before] <= at - WINDOW) before += 1;
      // the token that opens the window ends no interval in it
      const whole = at - this.#first >= WINDOW;
      const count = upTo - before - (whole ? 0 : 1);
      samples.push({ at, speed: (Math.max(count, 0) / Math.max(Math.min(WINDOW, at - this.#first), 1)) * 1000 });
      if (at >= last) return samples;
    }
  }

  /** A tick for each read, the higher the more tokens came together in it. */
  #drawReads(canvas, { x, height, colour }) {
    const reads = new Map();
    for (const at of this.#tokens) reads.set(at, (reads.get(at) ?? 0) + 1);
    const most = Math.max(2, ...reads.values());
    canvas.fillStyle = colour('ink');
    for (const [at, tokens] of reads) {
      const tall = RASTER * (0.5 + 0.5 * ((tokens - 1) / (most - 1)));
      canvas.fillRect(Math.round(x(at)), height - AXIS - tall, 1, tall);
    }
  }
}

/** The next 1, 1.5, 2, 3, 5 or 7.5 times a power of ten. */
function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(Math.max(value, 1)));
  return power * [1, 1.5, 2, 3, 5, 7.5, 10].find((step) => step * power >= value);
}
