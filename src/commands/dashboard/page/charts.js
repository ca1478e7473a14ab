// Curves: uPlot draws them; around it a legend for mouse and keyboard, and the numbers as a table.
/* global uPlot */

export const COLOURS = 6;
const DASHES = [[], [7, 3], [2, 3], [9, 3, 2, 3], [14, 4], [4, 4]];
const HEIGHT = 210;
const ROWS = 2000; // of a table of numbers

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

// A short line as it is drawn for the series of this number.
export function key(number) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 32 10");
  svg.setAttribute("class", "key");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M0 5H32");
  path.setAttribute("stroke", `var(--c${number % COLOURS})`);
  path.setAttribute("stroke-dasharray", DASHES[number % DASHES.length].join(" "));
  svg.append(path);
  return svg;
}

export const short = (number) => {
  if (number === null || number === undefined || !Number.isFinite(number)) return "–";
  const size = Math.abs(number);
  if (size !== 0 && (size < 0.001 || size >= 1e6)) return number.toExponential(3);
  return Number(number.toPrecision(5)).toLocaleString("en", { maximumFractionDigits: 6 });
};

// One chart. `update` gets what is drawn: { x: [...], series: [{ name, number, values }], marks: [{ x, sign, text }], logarithmic }.
export class Chart {
  constructor(title) {
    this.title = title;
    this.off = new Set();
    this.plot = element("div", { class: "plot", role: "img", "aria-label": title });
    this.legend = element("ul", { class: "legend" });
    this.table = element("table");
    this.numbers = element("details", {}, element("summary", {}, "Numbers"), element("div", { class: "scroll", tabindex: "0" }, this.table));
    this.numbers.addEventListener("toggle", () => this.fill());
    this.box = element("section", { class: "chart", "aria-label": title }, element("h3", {}, title), this.plot, this.legend, this.numbers);
    new ResizeObserver(() => this.resize()).observe(this.plot);
  }

  update(drawn) {
    const shape = JSON.stringify([drawn.series.map((series) => [series.name, series.number]), drawn.logarithmic, drawn.xName]);
    this.drawn = drawn;
    const data = [drawn.x, ...drawn.series.map((series) => series.values)];
    if (shape === this.shape && this.chart) {
      this.chart.setData(data);
    } else {
      this.shape = shape;
      this.build(data);
    }
    this.say();
    this.fill();
  }

  // Draws everything anew, for instance with other colours.
  rebuild() {
    if (!this.drawn) return;
    this.build([this.drawn.x, ...this.drawn.series.map((series) => series.values)]);
  }

  build(data) {
    this.chart?.destroy();
    const { series, logarithmic, xName } = this.drawn;
    const axis = { stroke: colour("--ink"), grid: { stroke: colour("--line"), width: 1 }, ticks: { stroke: colour("--line"), width: 1 } };
    this.chart = new uPlot(
      {
        width: Math.max(this.plot.clientWidth, 120),
        height: HEIGHT,
        legend: { show: false },
        cursor: { points: { size: 6 }, drag: { x: true, y: false } },
        scales: { x: { time: false }, y: { distr: logarithmic ? 3 : 1 } },
        axes: [{ ...axis, label: xName, labelSize: 18, size: 34 }, { ...axis, size: (_, labels) => Math.max(40, 16 + 7 * Math.max(0, ...(labels ?? []).map((label) => label.length))), values: (_, ticks) => ticks.map((tick) => (tick === null ? "" : short(tick))) }],
        series: [
          {},
          ...series.map(({ name, number }) => ({
            label: name,
            show: !this.off.has(name),
            stroke: colour(`--c${number % COLOURS}`),
            dash: DASHES[number % DASHES.length],
            width: 2,
            spanGaps: true,
            points: { show: (u, at) => u.data[at].filter((value) => value !== null && value !== undefined).length < 3 },
          })),
        ],
        hooks: { draw: [(u) => this.mark(u)], setCursor: [() => this.say()] },
      },
      data,
      this.plot,
    );
    this.legend.replaceChildren(
      ...series.map(({ name, number }, at) => {
        const button = element("button", { type: "button", "aria-pressed": String(!this.off.has(name)) }, key(number), ` ${name} `, element("span", { class: "value" }));
        button.addEventListener("click", () => {
          const on = this.off.delete(name);
          if (!on) this.off.add(name);
          button.setAttribute("aria-pressed", String(on));
          this.chart.setSeries(at + 1, { show: on });
        });
        return element("li", {}, button);
      }),
    );
  }

  resize() {
    const width = this.plot.clientWidth;
    if (this.chart && width && width !== this.chart.width) this.chart.setSize({ width, height: HEIGHT });
  }

  // The values under the pointer, or the last ones, in the legend.
  say() {
    const { series } = this.drawn;
    const at = this.chart.cursor.idx;
    series.forEach(({ values }, number) => {
      const shown = at === null || at === undefined ? lastOf(values) : values[at];
      this.legend.children[number].querySelector(".value").textContent = short(shown);
    });
    const last = series.map(({ name, values }) => `${name} ${short(lastOf(values))}`).join(", ");
    this.plot.setAttribute("aria-label", `${this.title}: ${last}`);
  }

  // What happened, as lines from top to bottom with a sign.
  mark(u) {
    const marks = this.drawn.marks ?? [];
    const { ctx, bbox } = u;
    ctx.save();
    ctx.strokeStyle = colour("--quiet");
    ctx.fillStyle = colour("--ink");
    ctx.setLineDash([3 * devicePixelRatio, 4 * devicePixelRatio]);
    ctx.lineWidth = devicePixelRatio;
    ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
    ctx.textAlign = "center";
    for (const { x, sign } of marks) {
      const place = Math.round(u.valToPos(x, "x", true));
      if (!(place >= bbox.left && place <= bbox.left + bbox.width)) continue;
      ctx.beginPath();
      ctx.moveTo(place, bbox.top + 12 * devicePixelRatio);
      ctx.lineTo(place, bbox.top + bbox.height);
      ctx.stroke();
      ctx.fillText(sign, place, bbox.top + 9 * devicePixelRatio);
    }
    ctx.restore();
  }

  // The numbers as a table, exactly as the log has them.
  fill() {
    if (!this.numbers.open || !this.drawn) return;
    const { x, xName, series } = this.drawn;
    const head = element("tr", {}, ...[xName, ...series.map((one) => one.name)].map((name) => element("th", { scope: "col" }, name)));
    const rows = [];
    for (let at = Math.max(0, x.length - ROWS); at < x.length; at += 1) {
      rows.push(element("tr", {}, ...[x[at], ...series.map((one) => one.values[at])].map((value) => element("td", { class: "number" }, value === null || value === undefined ? "" : String(value)))));
    }
    this.table.replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
  }
}

export function lastOf(values) {
  for (let at = values.length - 1; at >= 0; at -= 1) if (values[at] !== null && values[at] !== undefined) return values[at];
  return null;
}
