// The page of a running stream: reads /events, draws what they say. All text from there is untrusted: textContent only.

import { Chart, bins, mean, quantile } from "./charts.js";

const STAGES = ["wait", "preprocess", "queue", "infer", "smooth"];
const PREDICTIONS = 600, STATUSES = 600, EVENTS = 200;
const SHOWN_SECONDS = [30, 180];
const PICTURES_AT_ONCE = 4; // Browsers open six connections to a host, and /events has one.
const WHOLE = [0, 0, 1, 1];
const STATE_PIXELS = [130, 40]; // Of the page: the corner in which a picture shows the state of its source.
const NAME_PIXELS = 20; // Of the picture: the height of a zone's name.
const BOX_SECONDS = 2; // For how long a region that moves is shown where it was seen last.
const STATE_TEXT = { lost: "lost: reconnecting…" };

const $ = (id) => document.getElementById(id);
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

const colors = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// What follows on each other is far apart in hue.
const color = (position) => `hsl(${(175 + position * 137.5) % 360} 48% ${css("--light")})`;

// A label gets a color of its own once it is the best one, and keeps it.
function colorOf(label) {
  if (!colors.has(label)) colors.set(label, colors.size);
  return color(colors.get(label));
}

function number(value, digits = 0) {
  return value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

function clock(seconds) {
  const whole = Math.floor(Math.abs(seconds));
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  if (!parts[0]) parts.shift();
  return (seconds < 0 ? "−" : "") + parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

// To the hundredth, as lines of text and the terminal have it.
function preciseClock(seconds) {
  const hundredths = Math.round(100 * Math.abs(seconds));
  return `${seconds < 0 && hundredths ? "−" : ""}${clock(Math.floor(hundredths / 100))}.${String(hundredths % 100).padStart(2, "0")}`;
}

const duration = (ms) => (ms === null ? ["–", ""] : ms < 9950 ? [number(ms, ms < 10 ? 1 : 0), "ms"] : [number(ms / 1e3, 1), "s"]);

function show(element, value, unit = "") {
  element.textContent = value;
  if (unit) element.append(Object.assign(document.createElement("small"), { textContent: unit }));
}

let tipOf = null;
function tip(text, event) {
  tipOf = text ? event.target : null;
  $("tip").hidden = !text;
  if (!text) return;
  $("tip").textContent = text;
  const box = $("tip").getBoundingClientRect();
  $("tip").style.left = `${clamp(event.clientX + 14, 4, innerWidth - box.width - 4)}px`;
  $("tip").style.top = `${clamp(event.clientY - box.height - 12, 4, innerHeight - box.height - 4)}px`;
}

// One row for each value, made or removed as needed; `fill` writes into it.
function rows(list, values, make, fill) {
  while (list.children.length > values.length) list.lastElementChild.remove();
  while (list.children.length < values.length) list.append(make());
  values.forEach((value, i) => fill(list.children[i], value));
}

function element(tag, ...children) {
  const made = document.createElement(tag);
  made.append(...children.map((child) => document.createElement(child)));
  return made;
}

class Source {
  constructor(index, name, start) {
    Object.assign(this, { index, name, start, predictions: [], events: [], gaps: [], open: null, status: null, failure: null });
    Object.assign(this, { visible: true, heat: false, mask: null, bitmap: null, fps: null, ended: false });
    // Zones of one source share its pictures; regions that move are of one source, each with its newest prediction.
    Object.assign(this, { first: start.pictures[index] ?? index, zone: start.regions[index] ?? null, moving: new Map() });
    this.node = $("source").content.firstElementChild.cloneNode(true);
    this.part = (name) => this.node.querySelector(name);
    this.part(".name").textContent = this.part(".name").title = name;
    this.part(".heat").addEventListener("click", () => this.toggleHeat());
    this.canvas = this.part("canvas");
    this.canvas.setAttribute("role", "img");
    new IntersectionObserver(([entry]) => (this.visible = entry.isIntersecting)).observe(this.node);
  }

  get last() {
    return this.predictions.at(-1);
  }

  // All that are seen in the same pictures.
  get companions() {
    return sources.filter(({ first }) => first === this.first);
  }

  // The name of what is read, without that of its zone.
  get readName() {
    const suffix = this.zone ? ` [${this.zone.name}]` : "";
    return this.name.endsWith(suffix) ? this.name.slice(0, this.name.length - suffix.length) : this.name;
  }

  // Where its zone is, in shares of the picture; pixels only tell once there is a prediction.
  get box() {
    return this.last?.box ?? (this.zone && Math.max(...this.zone.box) <= 1 ? this.zone.box : null);
  }

  get state() {
    if (this.failure) return "failed";
    return this.status?.state ?? (this.ended ? "ended" : this.last ? "playing" : "waiting");
  }

  predicted(record) {
    if (record.region != null && !this.zone) this.moved(record);
    // Of regions that move many actions go on at once: their events tell.
    const action = record.region == null || this.zone ? record.action : null;
    if (action) colorOf(action.label);
    this.open = action && { ...action, t_end: record.t_end };
    this.predictions.push(record);
    if (this.predictions.length > PREDICTIONS) this.predictions.shift();
    if (this.heat && record.saliency) this.readMask();
  }

  moved(record) {
    this.moving.delete(record.region);
    this.moving.set(record.region, record);
    for (const [region, { t_end }] of this.moving) {
      if (Math.abs(record.t_end - t_end) > BOX_SECONDS) this.moving.delete(region);
    }
  }

  paused(gap) {
    this.moving.clear();
    this.gaps.push(gap);
    if (this.gaps.length > EVENTS) this.gaps.shift();
    this.open = null;
  }

  happened(event) {
    colorOf(event.label);
    this.events.push(event);
    if (this.events.length > EVENTS) this.events.shift();
    // Where the window that ended it began another one, that one goes on.
    if (this.open && this.open.t_start <= event.t_start) this.open = null;
  }

  draw() {
    const { state, last } = this;
    this.node.className = `source ${state}`;
    this.part(".state").dataset.state = state;
    this.part(".state").textContent = STATE_TEXT[state] ?? state;
    const message = this.failure?.message ?? this.status?.message;
    this.part(".message").hidden = !message;
    this.part(".message").textContent = message ?? "";
    this.part(".figures").textContent = this.figures();
    this.part(".heat").hidden = !last?.saliency;
    if (last) this.drawScores(last);
    this.drawTimeline();
  }

  figures() {
    const { status, last } = this;
    const position = status?.position_seconds ?? last?.t_end, whole = status?.duration_seconds;
    const parts = [];
    if (this.fps !== null && this.state === "playing") parts.push(`${number(this.fps, 1)} fps`);
    // A file is read from --start on, and its times need not begin at zero.
    if (whole) parts.push(`${clock(clamp(position - status.first_seconds, 0, whole))} of ${clock(whole)}`);
    else if (position !== undefined) parts.push(clock(position));
    if (status?.gaps) parts.push(`${status.gaps} gap${status.gaps > 1 ? "s" : ""}`);
    if (status?.reconnects) parts.push(`${status.reconnects} reconnect${status.reconnects > 1 ? "s" : ""}`);
    return parts.join(" · ");
  }

  drawScores({ label, score, topk }) {
    const region = this.zone ? null : (this.last.region ?? null);
    this.part(".caption .label").textContent = region === null ? label : `[${region}] ${label}`;
    this.part(".caption .score").textContent = `${Math.round(100 * score)} %`;
    this.part(".caption").classList.toggle("unsure", score < this.start.threshold);
    this.canvas.setAttribute("aria-label", `${this.name}: ${label}, ${Math.round(100 * score)} %`);
    rows(this.part(".bars"), topk.slice(0, 5), () => element("li", "i", "span", "span"), (row, [name, value]) => {
      const [bar, text, percent] = row.children;
      // It keeps its place, so that nothing below it jumps when it comes back.
      row.style.visibility = name === label || Math.round(100 * value) ? "" : "hidden";
      bar.style.width = `${100 * value}%`;
      bar.style.setProperty("--color", name === label || colors.has(name) ? colorOf(name) : "var(--muted)");
      text.textContent = text.title = name;
      percent.textContent = `${Math.round(100 * value)} %`;
    });
  }

  drawTimeline() {
    const actions = this.open ? [...this.events, this.open] : this.events;
    const newest = Math.max(this.status?.position_seconds ?? 0, this.last?.t_end ?? 0, this.events.at(-1)?.t_end ?? 0);
    const none = Math.max(0, newest - SHOWN_SECONDS[0]);
    const oldest = Math.min(this.predictions[0]?.t_start ?? none, this.events[0]?.t_start ?? none);
    const span = clamp(newest - oldest, ...SHOWN_SECONDS);
    const from = newest - span > oldest ? newest - span : oldest;
    const width = this.part(".timeline").clientWidth;
    const gaps = this.gaps.filter((gap) => gap.t_end > gap.t_start).map((gap) => ({ ...gap, label: null }));
    const shown = [...actions, ...gaps].filter((item) => item.t_end > from);
    rows(this.part(".timeline"), shown, () => this.makeAction(), (node, item) => {
      const left = Math.max(0, (item.t_start - from) / span), right = Math.min(1, (item.t_end - from) / span);
      node.item = item;
      node.style.left = `${100 * left}%`;
      node.style.width = `${100 * (right - left)}%`;
      node.className = `${item.label === null ? "gap" : ""} ${item === this.open ? "open" : ""} ${(right - left) * width < 44 ? "narrow" : ""}`;
      if (item.label !== null) node.style.setProperty("--color", colorOf(item.label));
      node.textContent = item.label ?? "";
      node.setAttribute("aria-label", describe(item).replaceAll("\n", ", "));
    });
    this.part(".axis .from").textContent = clock(from);
    this.part(".axis .to").textContent = clock(Math.max(newest, from + span));
    const recent = actions.slice(sources.length > 1 ? -3 : -8).reverse();
    rows(this.part(".recent"), recent, () => element("li", "b", "time"), (row, item) => {
      const [label, time] = row.children;
      row.style.setProperty("--color", colorOf(item.label));
      label.textContent = label.title = item.label;
      const end = item === this.open && this.state === "playing" ? "now" : preciseClock(item.t_end);
      time.textContent = `${preciseClock(item.t_start)} – ${end} · ${Math.round(100 * item.score)} %`;
    });
  }

  makeAction() {
    const node = element("div");
    node.setAttribute("role", "listitem");
    node.addEventListener("pointermove", (event) => tip(describe(node.item), event));
    node.addEventListener("pointerleave", () => tip(null));
    return node;
  }

  toggleHeat() {
    this.heat = !this.heat;
    this.part(".heat").setAttribute("aria-pressed", String(this.heat));
    if (this.heat) this.readMask();
    this.paint();
  }

  async readMask() {
    const response = await fetch(`saliency/${this.index}`).catch(() => null);
    if (!response?.ok) return;
    const { rows, box } = await response.json();
    this.mask = { image: heatMap(rows), box: box ?? WHOLE };
    this.paint();
  }

  // Shows picture after picture, while the page and this part of it are seen.
  async watch(isCurrent) {
    let seen = 0;
    while (isCurrent()) {
      if (document.hidden || !this.companions.some(({ visible }) => visible) || ["ended", "failed"].includes(this.state) && seen) {
        await sleep(300);
        continue;
      }
      const response = await turn(() => fetch(`picture/${this.index}.jpg?after=${seen}`)).catch(() => null);
      if (response?.status === 200) {
        seen = Number(response.headers.get("picture-number"));
        const before = this.bitmap;
        const bitmap = await createImageBitmap(await response.blob());
        for (const source of this.companions) {
          source.bitmap = bitmap;
          source.paint();
        }
        before?.close();
      } else await sleep(response?.status === 204 ? 50 : 1000);
    }
  }

  paint() {
    const { canvas, bitmap } = this;
    if (!bitmap) return;
    if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
      Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
      this.part(".picture").style.setProperty("--aspect", clamp(bitmap.width / bitmap.height, 1.25, 1.8));
    }
    this.part(".picture").classList.add("shows");
    const context = canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    if (this.heat && this.mask) this.paintMask(context);
    if (this.zone) this.paintZones(context);
    for (const [name, { box, label, score }] of this.moving) {
      paintBox(context, box, `${name}  ${label} ${Math.round(100 * score)} %`, { color: "rgb(255 209 102)", width: 2 });
    }
  }

  // Of a picture, or of a box in it, the network sees the center: the short side scaled to resize_short_side, of which a
  // square of size is cut.
  paintMask(context) {
    const [x, y, width, height] = inPixels(context, this.mask.box);
    const side = (Math.min(width, height) * this.start.clip.size) / this.start.clip.resize_short_side;
    const left = x + (width - side) / 2, top = y + (height - side) / 2;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.mask.image, left, top, side, side);
    context.lineWidth = 1;
    context.strokeStyle = "rgb(255 255 255 / .5)";
    context.strokeRect(left + 0.5, top + 0.5, side - 1, side - 1);
  }

  // The other zones in outline, its own in full light.
  paintZones(context) {
    for (const { box, zone } of this.companions.filter((other) => other !== this && other.box)) {
      paintBox(context, box, zone.name, { color: "rgb(255 255 255 / .55)", width: 1 });
    }
    if (!this.box) return;
    const shade = new Path2D();
    shade.rect(0, 0, context.canvas.width, context.canvas.height);
    shade.rect(...inPixels(context, this.box));
    context.fillStyle = "rgb(0 0 0 / .5)";
    context.fill(shade, "evenodd");
    paintBox(context, this.box, this.zone.name, { color: "rgb(255 209 102)", width: 3 });
  }
}

function inPixels({ canvas }, [left, top, width, height]) {
  return [left * canvas.width, top * canvas.height, width * canvas.width, height * canvas.height];
}

// A frame, and a name in its upper left corner: below the source's state where that stands in the same place, or beside
// it where the box ends there.
function paintBox(context, box, name, { color, width }) {
  const [left, top, across, down] = inPixels(context, box);
  context.lineWidth = width;
  context.strokeStyle = color;
  context.strokeRect(left + width / 2, top + width / 2, across - width, down - width);
  context.font = "600 14px system-ui, sans-serif";
  context.textBaseline = "top";
  const length = Math.min(across - 2 * width, context.measureText(name).width + 12);
  context.fillStyle = "rgb(10 12 14 / .72)";
  const [x, y] = clearOfState(context, left + width, top + width, top + down);
  context.fillRect(x, y, length, NAME_PIXELS);
  context.fillStyle = color;
  context.fillText(name, x + 6, y + 3, Math.max(1, length - 12));
}

// Where a name that would begin at x, y can be read. A picture has pixels of its own: a narrow page shows more of them in
// the same place.
function clearOfState({ canvas }, x, y, bottom) {
  const scale = Math.max(canvas.width / (canvas.clientWidth || canvas.width), canvas.height / (canvas.clientHeight || canvas.height));
  const [right, below] = STATE_PIXELS.map((pixels) => pixels * scale);
  if (x >= right || y >= below) return [x, y];
  return below + NAME_PIXELS <= bottom ? [x, below] : [right, y];
}

function describe(item) {
  if (item.label === null) return `no signal (${item.cause})\n${preciseClock(item.t_start)} – ${preciseClock(item.t_end)}`;
  return `${item.label}\n${preciseClock(item.t_start)} – ${preciseClock(item.t_end)}, score ${Math.round(100 * item.score)} %`;
}

// A mask as a picture of its own: nothing where it is low, from violet over red to yellow where it is high.
function heatMap(values) {
  const canvas = Object.assign(document.createElement("canvas"), { width: values[0].length, height: values.length });
  const flat = values.flat();
  const low = Math.min(...flat), range = Math.max(1, Math.max(...flat) - low);
  const image = new ImageData(canvas.width, canvas.height);
  flat.forEach((value, i) => {
    const heat = (value - low) / range;
    image.data.set([255 * clamp(0.35 + 1.3 * heat, 0, 1), 255 * clamp(2 * heat - 0.8, 0, 1), 255 * clamp(0.65 - heat, 0, 1), 190 * heat ** 0.8], 4 * i);
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

// At most so many pictures are asked for at once, in turn.
const waiting = [];
let asking = 0;
async function turn(ask) {
  if (asking >= PICTURES_AT_ONCE) await new Promise((go) => waiting.push(go));
  asking++;
  try {
    return await ask();
  } finally {
    asking--;
    waiting.shift()?.();
  }
}

let start = null, summary = null, sources = [], statuses = [], run = 0, offset = null, changed = false;
const charts = {
  age: new Chart($("chart-age"), { unit: "ms", kind: "bars", tip }),
  fps: new Chart($("chart-fps"), { unit: "", kind: "lines", tip }),
  drops: new Chart($("chart-drops"), { unit: "", kind: "bars", tip }),
};

const TAKE = {
  start(record) {
    start = record;
    summary = null;
    statuses = [];
    colors.clear();
    const own = ++run;
    sources = record.sources.map((name, index) => new Source(index, name, record));
    $("sources").replaceChildren(...sources.map(({ node }) => node));
    $("sources").dataset.count = sources.length;
    for (const source of sources.filter(({ index, first }) => index === first)) source.watch(() => own === run);
    const name = record.artifact.split(/[\\/]/).filter(Boolean).at(-1) ?? record.artifact;
    $("artifact").textContent = name;
    $("artifact").title = record.artifact;
    const eats = record.form === "step" ? `steps of ${record.hop} frame${record.hop > 1 ? "s" : ""}` : `clips of ${record.clip.frames} frames`;
    $("facts").textContent = [record.network, record.precision, record.target, `${record.labels} labels`, eats].join(" · ");
    document.title = `${name} · S2TF-Edge`;
  },
  prediction: (record) => sources[record.source]?.predicted(record),
  event: (record) => sources[record.source]?.happened(record),
  gap: (record) => sources[record.source]?.paused(record),
  error(record) {
    if (sources[record.source]) sources[record.source].failure = record;
  },
  status(record) {
    const before = statuses.at(-1);
    const seconds = before ? record.seconds - before.seconds : 0;
    record.sources.forEach((status, i) => {
      if (!sources[i]) return;
      sources[i].status = status;
      if (seconds > 0) sources[i].fps = (status.frames - before.sources[i].frames) / seconds;
    });
    statuses.push(record);
    if (statuses.length > STATUSES) statuses.shift();
  },
  summary(record) {
    summary = record;
    for (const source of sources) source.ended = true;
  },
};

function drawNumbers(predictions) {
  const ages = predictions.map(({ age_ms }) => age_ms);
  show($("age-p50"), ...duration(quantile(ages, 0.5)));
  show($("age-p95"), ...duration(quantile(ages, 0.95)));
  show($("infer"), ...duration(quantile(predictions.map(({ infer_ms }) => infer_ms), 0.5)));
  const playing = read().filter(({ state, fps }) => state === "playing" && fps !== null);
  show($("fps"), playing.length ? number(playing.reduce((sum, { fps }) => sum + fps, 0), 1) : "–");
  const last = statuses.at(-1);
  const before = statuses.findLast(({ seconds }) => last.seconds - seconds >= 5) ?? statuses[0];
  const windows = ({ sources: all }) => all.reduce((sum, source) => sum + source.windows, 0);
  const seconds = last ? last.seconds - before.seconds : 0;
  show($("rate"), seconds > 0 && !summary ? number((windows(last) - windows(before)) / seconds, 1) : "–");
  const drops = summary?.drops ?? last?.drops;
  show($("dropped"), drops ? number(Object.values(drops).reduce((sum, count) => sum + count, 0)) : "–");
  const uptime = summary?.seconds ?? (last ? last.seconds + Math.max(0, now() - last.at) : null);
  show($("uptime"), uptime === null ? "–" : clock(uptime));
}

// What is read: of zones that share their pictures the first.
const read = () => sources.filter(({ index, first }) => index === first);

// The server's time, as far as its newest record tells.
const now = () => (summary ? summary.at : Date.now() / 1e3 - (offset ?? 0));

function drawCharts(predictions, seconds) {
  const window = { end: now(), seconds, count: clamp(Math.round(seconds / 2), 30, 60) };
  const aged = bins(predictions, window);
  const known = STAGES.filter((stage) => predictions.some(({ stages_ms }) => stage in stages_ms));
  const part = (stage) => (each) => (stage === "age" ? each.age_ms : each.stages_ms[stage] ?? 0);
  const stages = (known.length ? known : ["age"]).map((stage) => ({
    name: stage,
    color: css(stage === "age" ? "--infer" : `--${stage}`),
    values: aged.map((bin) => mean(bin.map(part(stage)))),
    note: predictions.length ? duration(mean(predictions.map(part(stage)))).join(" ") : "",
  }));
  charts.age.draw(stages, seconds);
  const steps = statuses.slice(1).map((status, i) => ({ at: status.at, status, before: statuses[i] }));
  const timed = bins(steps, window);
  const rate = (count) => (bin) => {
    if (!bin.length) return null;
    const last = bin.at(-1).status, first = bin[0].before;
    return last.seconds > first.seconds ? (count(last) - count(first)) / (last.seconds - first.seconds) : null;
  };
  const lines = read();
  charts.fps.draw(lines.map(({ index, readName, fps, state }, i) => ({
    name: lines.length > 1 ? readName : "",
    color: lines.length > 1 ? color(i) : css("--accent"),
    values: timed.map(rate(({ sources: all }) => all[index]?.frames ?? 0)),
    note: fps === null || state !== "playing" ? "" : number(fps, 1),
  })), seconds);
  const drops = summary?.drops ?? statuses.at(-1)?.drops ?? {};
  const hues = ["--bad", "--queue", "--smooth", "--preprocess", "--wait"];
  charts.drops.draw(Object.keys(drops).map((cause, i) => ({
    name: cause.replaceAll("_", " "),
    color: css(hues[i % hues.length]),
    values: timed.map(rate((status) => status.drops[cause] ?? 0)),
    note: number(drops[cause]),
  })), seconds);
}

function drawSummary() {
  $("summary").hidden = !summary;
  if (!summary) return;
  const count = (value, name) => `${number(value)} ${name}${value === 1 ? "" : "s"}`;
  const parts = [count(summary.frames_in, "frame"), count(summary.windows, "window"), count(summary.events, "event"), count(summary.gaps, "gap")];
  $("summary").textContent = `The stream ${summary.interrupted ? "was stopped" : "has ended"}: ${parts.join(", ")} in ${clock(summary.seconds)}.`;
}

let charted = -Infinity;
function draw() {
  if (!start || document.hidden) return;
  for (const source of sources) source.draw();
  if (tipOf && !tipOf.isConnected) tip(null);
  drawSummary();
  // Charts and percentiles are for the eye to follow; twice a second is enough.
  if (performance.now() - charted < 500 && !summary) return;
  charted = performance.now();
  const seconds = clamp(now() - Math.min(start.at, statuses[0]?.at ?? start.at), ...SHOWN_SECONDS);
  const predictions = sources.flatMap((source) => source.predictions).filter(({ at }) => at > now() - seconds);
  drawNumbers(predictions);
  drawCharts(predictions, seconds);
}

function connect() {
  const events = new EventSource("events");
  const say = (state, text) => {
    $("connection").dataset.state = state;
    $("connection").textContent = text;
  };
  // After the end the connection stays, or is tried again: the stream may be started anew.
  events.onopen = () => summary || say("playing", "live");
  events.onmessage = ({ data }) => {
    let record;
    try {
      record = JSON.parse(data);
    } catch {
      return; // A network that gives NaN.
    }
    const lag = Date.now() / 1e3 - record.at;
    // Old records are sent at once: the least lag is that of the two clocks.
    offset = offset === null || record.type === "start" ? lag : Math.min(offset, lag);
    TAKE[record.type]?.(record);
    changed = true;
    if (record.type === "start") say("playing", "live");
    if (record.type === "summary") say("ended", "ended");
  };
  events.onerror = () => {
    if (!summary) say("lost", "no connection: trying again…");
    if (events.readyState !== EventSource.CLOSED) return;
    setTimeout(connect, 3000);
  };
}

// Ten times a second at most while records come, and once a second as time goes on.
let drawn = 0;
setInterval(() => {
  if (!changed && performance.now() - drawn < 1000) return;
  changed = false;
  drawn = performance.now();
  draw();
}, 100);
dark.addEventListener("change", () => (changed = true));
addEventListener("resize", () => (changed = true));
connect();
