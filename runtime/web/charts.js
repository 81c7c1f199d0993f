// Bars and lines over time on a canvas. Values lie in bins that move with the time; null is nothing known.

const AXIS = 44;
const FOOT = 18;

export function mean(values) {
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null;
}

// The smallest of values that share of them do not exceed.
export function quantile(values, share) {
  if (!values.length) return null;
  const sorted = Float64Array.from(values).sort();
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)];
}

// Sorts items with a time `at` into `count` bins that end at `end`.
export function bins(items, { end, seconds, count }) {
  const width = seconds / count;
  // Bins keep their borders while time goes on, or bars would change as they move.
  const last = Math.floor(end / width);
  const sorted = Array.from({ length: count }, () => []);
  for (const item of items) {
    const place = count - 1 - (last - Math.floor(item.at / width));
    if (place >= 0 && place < count) sorted[place].push(item);
  }
  return sorted;
}

function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 1.5, 2, 3, 5, 7.5, 10].find((step) => step * power >= value * 0.999) * power;
}

export class Chart {
  // kind: bars, one on the other, or lines; tip(text, event) shows what is under the pointer.
  constructor(figure, { unit, kind, tip }) {
    this.canvas = figure.querySelector("canvas");
    this.legend = figure.querySelector(".legend");
    Object.assign(this, { unit, kind, series: [], seconds: 60 });
    this.canvas.addEventListener("pointermove", (event) => tip(this.describe(event), event));
    this.canvas.addEventListener("pointerleave", () => tip(null));
  }

  // series: [{name, color, values: [number or null, …], note}], all of one length.
  draw(series, seconds) {
    Object.assign(this, { series, seconds });
    this.legend.replaceChildren(...series.map(({ name, color, note }) => {
      const item = document.createElement("span");
      item.textContent = item.title = note ? `${name} ${note}` : name;
      item.style.setProperty("--color", color);
      return item;
    }));
    const { canvas } = this;
    const scale = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    const style = getComputedStyle(document.documentElement);
    const top = roundUp(this.highest());
    this.grid(context, { width, height, top, style });
    const x0 = AXIS, w = width - AXIS, h = height - FOOT - 8;
    const y = (value) => 8 + h - (value / top) * h;
    if (this.kind === "bars") this.bars(context, { x0, w, y });
    else this.lines(context, { x0, w, y });
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", series.map(({ name, note }) => `${name} ${note ?? ""}`).join(", ") || "nothing yet");
  }

  highest() {
    if (this.kind !== "bars") return Math.max(0, ...this.series.flatMap(({ values }) => values));
    const count = this.series[0]?.values.length ?? 0;
    let most = 0;
    for (let i = 0; i < count; i++) most = Math.max(most, this.series.reduce((sum, { values }) => sum + (values[i] ?? 0), 0));
    return most;
  }

  grid(context, { width, height, top, style }) {
    const h = height - FOOT - 8;
    context.font = `11px ${getComputedStyle(document.body).fontFamily}`;
    context.textBaseline = "middle";
    for (const share of [0, 0.5, 1]) {
      const y = Math.round(8 + h - share * h) + 0.5;
      context.strokeStyle = style.getPropertyValue("--line");
      context.beginPath();
      context.moveTo(AXIS, y);
      context.lineTo(width, y);
      context.stroke();
      context.fillStyle = style.getPropertyValue("--muted");
      context.textAlign = "right";
      context.fillText((+(top * share).toPrecision(3)).toLocaleString("en"), AXIS - 8, y);
    }
    context.textAlign = "left";
    context.fillText(`−${Math.round(this.seconds)} s`, AXIS, height - 6);
    context.textAlign = "right";
    context.fillText("now", width, height - 6);
  }

  bars(context, { x0, w, y }) {
    const count = this.series[0]?.values.length ?? 0;
    const step = w / count;
    for (let i = 0; i < count; i++) {
      let sum = 0;
      for (const { values, color } of this.series) {
        const value = values[i];
        if (!value) continue;
        context.fillStyle = color;
        context.fillRect(x0 + i * step, y(sum + value), Math.max(1, step - Math.min(1.5, step / 4)), y(sum) - y(sum + value));
        sum += value;
      }
    }
  }

  lines(context, { x0, w, y }) {
    for (const { values, color } of this.series) {
      const step = w / values.length;
      context.strokeStyle = color;
      context.lineWidth = 2;
      context.lineJoin = "round";
      context.beginPath();
      let draws = false;
      values.forEach((value, i) => {
        if (value === null) return;
        const at = [x0 + (i + 0.5) * step, y(value)];
        if (draws) context.lineTo(...at);
        else context.moveTo(...at);
        draws = true;
      });
      context.stroke();
    }
  }

  describe(event) {
    const count = this.series[0]?.values.length ?? 0;
    const box = this.canvas.getBoundingClientRect();
    const i = Math.floor(((event.clientX - box.left - AXIS) / (box.width - AXIS)) * count);
    if (i < 0 || i >= count) return null;
    const ago = Math.round((1 - (i + 0.5) / count) * this.seconds);
    const known = this.series.filter(({ values }) => values[i] !== null);
    return [`${ago} s ago`, ...known.map(({ name, values }) => `${name}: ${values[i].toFixed(1)} ${this.unit}`)].join("\n");
  }
}
