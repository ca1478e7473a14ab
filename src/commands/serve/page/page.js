// The page of nn serve: a paper to draw on or a row to fill in, and the answers of the server.
import { element, reasonsInWords, short, showLayers, showReasons, showSeen } from "./inside.js";

const at = (id) => document.getElementById(id);
const SIDE = 280;
const PEN = 22;
const BARS = 12; // with more classes than this, the likeliest are shown
const PAUSE = 60; // milliseconds between two questions while a stroke goes on

let model; // what GET /page/model says
let token = sessionStorage.getItem("nn-token") ?? "";
let latest = null; // the answer that is shown
let chosen = null; // the class that "What weighs most" is about; null for the likeliest

// ---------------------------------------------------------------- the server

async function call(path, options = {}) {
  const headers = { ...options.headers };
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Error("The server does not answer. Is nn serve still running?");
  }
  const body = await response.json().catch(() => ({}));
  if (response.status === 401) showGate();
  if (!response.ok) throw Object.assign(new Error(body.error ?? `The server says ${response.status}.`), { status: response.status });
  return body;
}

function trouble(text) {
  at("trouble").hidden = !text;
  at("trouble").textContent = text ?? "";
}

function showGate() {
  at("gate").hidden = false;
  at("main").hidden = true;
  at("token").focus();
}

// Asks about the newest drawing, row or file: one question at a time, and what changed meanwhile once more.
const questions = {
  wanted: null,
  running: false,
  ask(make) {
    this.wanted = make;
    if (!this.running) this.run();
  },
  async run() {
    this.running = true;
    at("answer").setAttribute("aria-busy", "true");
    while (this.wanted) {
      const make = this.wanted;
      this.wanted = null;
      try {
        const { body, type } = (await make()) ?? {};
        if (!body) {
          showNothing();
        } else {
          const path = chosen === null ? "page/answer" : `page/answer?class=${chosen}`;
          show(await call(path, { method: "POST", body, headers: { "content-type": type } }));
          trouble(null);
        }
      } catch (error) {
        // Too much at once is over soon.
        if (error.status === 429 && !this.wanted) this.wanted = make;
        else if (error.status !== 401) trouble(error.message);
      }
      await new Promise((done) => setTimeout(done, PAUSE));
    }
    this.running = false;
    at("answer").setAttribute("aria-busy", "false");
  },
};
let question = async () => null;
const again = () => questions.ask(question);
function askAbout(make) {
  question = make;
  again();
}

// ---------------------------------------------------------------- answers

const caption = (name) => (/^\d$/.test(name) && model.answers.length === 10 ? `Digit ${name}` : name);
const level = (number) => (model.probabilities ? `${(number * 100).toFixed(1)} %` : short(number));

function showNothing() {
  latest = null;
  at("answer").textContent = "–";
  at("notes").hidden = true;
  at("results").hidden = true;
  at("seen").getContext("2d").clearRect(0, 0, SIDE, SIDE);
  for (const place of ["layers", "reasons"]) at(place).replaceChildren();
  at("reasons-about").textContent = "Nothing to see yet.";
  if (model.classes) showBars(null);
}

function show(page) {
  latest = page;
  const first = page.answers[0];
  if (model.classes) {
    const best = first.class;
    at("answer").textContent = `${caption(model.answers[best])} · ${level(first.outputs[best])}`;
    showBars(first);
  } else {
    at("answer").textContent = model.answers.map((name, i) => (model.answers.length > 1 ? `${name}: ` : "") + amount(first.outputs[i])).join(" · ");
  }
  at("notes").hidden = page.notes.length === 0;
  at("notes").textContent = page.notes.join("; ");
  if (page.seen) {
    showSeen(at("seen"), model.image, page.seen);
    const [height, width] = model.image;
    at("framing").textContent = `${height} × ${width} pixels: the ink is found, scaled and centred, as nn predict does it.`;
  }
  showLayers(at("layers"), page.layers, model.activation);
  at("reasons-about").textContent = reasonsInWords(model, page, caption(model.answers[page.about]));
  showReasons(at("reasons"), model, page);
  showRows(page);
}

const amount = (number) => Number(number.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 6, useGrouping: false });

function showBars(answer) {
  const outputs = answer?.outputs ?? model.answers.map(() => 0);
  let order = model.answers.map((_, i) => i);
  if (order.length > BARS) order = order.sort((a, b) => outputs[b] - outputs[a]).slice(0, BARS);
  const most = model.unit_interval ? 1 : Math.max(...outputs.map(Math.abs), Number.MIN_VALUE);
  const bars = at("bars");
  while (bars.children.length < order.length) bars.append(bar());
  order.forEach((which, place) => {
    const row = bars.children[place];
    const best = answer?.class === which;
    row.className = `${best ? "best" : ""} ${chosen === which ? "chosen" : ""}`;
    const button = row.firstElementChild;
    button.dataset.class = which;
    button.setAttribute("aria-pressed", chosen === which);
    const [name, track, number] = button.children;
    name.textContent = model.answers[which];
    track.firstElementChild.style.width = `${Math.max(0, Math.min(1, outputs[which] / most)) * 100}%`;
    number.textContent = answer ? (best ? "◂ " : "") + level(outputs[which]) : "";
  });
}

function bar() {
  const button = element("button", { type: "button", title: "Show what weighs most for this class" });
  button.append(element("span", { class: "name" }), element("span", { class: "track" }, element("span", { class: "fill" })), element("span", { class: "number" }));
  button.addEventListener("click", () => {
    const which = Number(button.dataset.class);
    chosen = chosen === which ? null : which;
    again();
  });
  return element("li", {}, button);
}

// The answers to a file of several samples.
function showRows(page) {
  at("results").hidden = page.samples < 2;
  if (page.samples < 2) return;
  const heads = model.classes ? ["sample", "answer", model.probabilities ? "probability" : "output"] : ["sample", ...model.answers];
  const cells = (answer, i) => (model.classes ? [i, model.answers[answer.class], level(answer.outputs[answer.class])] : [i, ...answer.outputs.map(amount)]);
  const row = (kind, all) => element("tr", {}, ...all.map((text) => element(kind, {}, String(text))));
  at("results").querySelector("thead").replaceChildren(row("th", heads));
  at("results").querySelector("tbody").replaceChildren(...page.answers.map((answer, i) => row("td", cells(answer, i))));
  const rest = page.samples - page.answers.length;
  at("file-about").textContent = `${page.samples} samples${rest ? `, the first ${page.answers.length} shown` : ""}. Above is sample 0.`;
}

// ---------------------------------------------------------------- the paper

const paper = {
  canvas: at("paper"),
  context: at("paper").getContext("2d", { willReadFrequently: true }),
  erasing: false,
  last: null, // where the pointer was, while it is down
  pen: null, // where the keyboard's pen is
  penDown: false,
  strokes: [], // the paper before each stroke

  remember() {
    this.strokes.push(this.context.getImageData(0, 0, SIDE, SIDE));
    if (this.strokes.length > 30) this.strokes.shift();
  },
  clear() {
    this.context.fillStyle = "#fff";
    this.context.fillRect(0, 0, SIDE, SIDE);
  },
  line([x0, y0], [x1, y1], erase) {
    const context = this.context;
    context.strokeStyle = erase ? "#fff" : "#000";
    context.lineWidth = erase ? PEN * 1.6 : PEN;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(x0, y0);
    context.lineTo(x1, y1);
    context.stroke();
  },
  isBlank() {
    const { data } = this.context.getImageData(0, 0, SIDE, SIDE);
    for (let i = 0; i < data.length; i += 4) if (data[i] < 128) return false;
    return true;
  },
  // Draws the paper anew, as `draw` puts its copy.
  redraw(draw) {
    const copy = element("canvas", { width: SIDE, height: SIDE });
    copy.getContext("2d").drawImage(this.canvas, 0, 0);
    this.remember();
    this.clear();
    this.context.save();
    draw(this.context, copy);
    this.context.restore();
    changed();
  },
};

const changed = () =>
  askAbout(async () => {
    if (paper.isBlank()) return null;
    const body = await new Promise((done) => paper.canvas.toBlob(done, "image/png"));
    return { body, type: "image/png" };
  });

function place(event) {
  const box = paper.canvas.getBoundingClientRect();
  return [((event.clientX - box.left) * SIDE) / box.width, ((event.clientY - box.top) * SIDE) / box.height];
}

function listenToPointers() {
  const { canvas } = paper;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 && event.button !== 5) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    paper.remember();
    paper.last = place(event);
    paper.line(paper.last, paper.last, paper.erasing || (event.buttons & 32) !== 0);
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!paper.last) return;
    // Between two frames a pen reports several places.
    const events = event.getCoalescedEvents?.() ?? [];
    for (const one of events.length ? events : [event]) {
      const next = place(one);
      paper.line(paper.last, next, paper.erasing || (event.buttons & 32) !== 0);
      paper.last = next;
    }
    changed();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (paper.last = null));
}

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function listenToKeys() {
  paper.canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = ARROWS[event.key];
    if (arrow) {
      const from = paper.pen ?? [SIDE / 2, SIDE / 2];
      const step = event.shiftKey ? 2 : 10;
      const inside = (x) => Math.max(0, Math.min(SIDE, x));
      paper.pen = [inside(from[0] + arrow[0] * step), inside(from[1] + arrow[1] * step)];
      if (paper.penDown) {
        paper.line(from, paper.pen, paper.erasing);
        changed();
      }
    } else if (event.key === " ") {
      paper.pen ??= [SIDE / 2, SIDE / 2];
      paper.penDown = !paper.penDown;
      if (paper.penDown) {
        paper.remember();
        paper.line(paper.pen, paper.pen, paper.erasing);
        changed();
      }
    } else if (event.key === "e" || event.key === "E") toggleEraser();
    else if (event.key === "z" || event.key === "Z") undo();
    else if (event.key === "Escape") clear();
    else return;
    event.preventDefault();
    showPen();
  });
  paper.canvas.addEventListener("blur", () => {
    paper.penDown = false;
    at("pen").hidden = true;
  });
}

function showPen() {
  const pen = at("pen");
  pen.hidden = !paper.pen;
  if (!paper.pen) return;
  [pen.style.left, pen.style.top] = paper.pen.map((x) => `${x}px`);
  pen.classList.toggle("down", paper.penDown);
}

function clear() {
  paper.remember();
  paper.clear();
  changed();
}

function undo() {
  const before = paper.strokes.pop();
  if (!before) return;
  paper.context.putImageData(before, 0, 0);
  changed();
}

function toggleEraser() {
  paper.erasing = !paper.erasing;
  at("eraser").setAttribute("aria-pressed", paper.erasing);
}

// What may change an answer, and what should not.
const TRICKS = {
  turn: (context, copy) => {
    context.translate(SIDE / 2, SIDE / 2);
    context.rotate(Math.PI / 12);
    context.drawImage(copy, -SIDE / 2, -SIDE / 2);
  },
  mirror: (context, copy) => {
    context.scale(-1, 1);
    context.drawImage(copy, -SIDE, 0);
  },
  shrink: (context, copy) => context.drawImage(copy, SIDE * 0.15, SIDE * 0.15, SIDE * 0.7, SIDE * 0.7),
  push: (context, copy) => context.drawImage(copy, -SIDE * 0.08, -SIDE * 0.08),
  speckle: (context, copy) => {
    context.drawImage(copy, 0, 0);
    context.fillStyle = "#000";
    for (let i = 0; i < 25; i++) context.fillRect(20 + Math.random() * 235, 20 + Math.random() * 235, 8, 8);
  },
  strike: (context, copy) => {
    context.drawImage(copy, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(30, SIDE / 2 - 6, SIDE - 60, 12);
  },
};

const HINTS = [
  "Push it to a corner or shrink it: the answer hardly changes, because the framing undoes both. The network alone could not.",
  "Turn it or mirror it: nothing undoes that. A network trained with --augment has at least seen turned ones.",
  "Draw what is none of its classes, such as a face. It has no answer “none of these”, and may be very sure.",
  "Add a single stroke that a reader would ignore. Watch which unit it wakes.",
  "Draw with gaps, upside down, or two of them side by side.",
];

// ---------------------------------------------------------------- rows of a table

function buildForm() {
  const input = (field) => {
    if (field.kind === "category") {
      const options = field.values.map((value) => element("option", { value }, value));
      return element("select", {}, ...options, element("option", { value: "" }, "(missing)"));
    }
    const usual = field.kind === "number" ? String(Number(field.median.toPrecision(6))) : "";
    const made = element("input", { type: "text", inputmode: field.kind === "number" ? "decimal" : "text", placeholder: field.pattern ?? "(missing)" });
    made.value = usual;
    return made;
  };
  at("fields").replaceChildren(
    ...model.columns.map((field, i) => {
      const made = input(field);
      made.id = `field-${i}`;
      made.addEventListener("input", askRow);
      return element("div", {}, element("label", { for: made.id }, field.name), made);
    }),
  );
}

function askRow() {
  askAbout(async () => {
    // As text, so that the server reads a cell as it reads one of a file.
    const tensor = (field, i) => ({ name: field.name, shape: [1], datatype: "BYTES", data: [at(`field-${i}`).value.trim()] });
    return { body: JSON.stringify({ inputs: model.columns.map(tensor) }), type: "application/json" };
  });
}

// ---------------------------------------------------------------- files

async function picture(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap || bitmap.width * bitmap.height <= model.max_pixels) return file;
  const scale = Math.sqrt(model.max_pixels / (bitmap.width * bitmap.height)) * 0.99;
  const canvas = element("canvas", { width: Math.floor(bitmap.width * scale), height: Math.floor(bitmap.height * scale) });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

function askFile(file) {
  if (file.size > model.max_body) {
    trouble(`The file has more than ${model.max_body} bytes, which is all that this server takes.`);
    return;
  }
  askAbout(async () => {
    const start = new Uint8Array(await file.slice(0, 3).arrayBuffer());
    const png = start[0] === 0x89 && start[1] === 0x50;
    const jpeg = start[0] === 0xff && start[1] === 0xd8;
    if (!png && !jpeg) return { body: file, type: "application/octet-stream" };
    const body = await picture(file);
    return { body, type: body === file ? (png ? "image/png" : "image/jpeg") : "image/png" };
  });
}

// ---------------------------------------------------------------- the beginning

function listen() {
  listenToPointers();
  listenToKeys();
  at("clear").addEventListener("click", clear);
  at("undo").addEventListener("click", undo);
  at("eraser").addEventListener("click", toggleEraser);
  for (const button of at("tricks").children) button.addEventListener("click", () => paper.redraw(TRICKS[button.dataset.trick]));
  at("file").addEventListener("change", () => at("file").files[0] && askFile(at("file").files[0]));
  at("entrance").addEventListener("submit", (event) => {
    event.preventDefault();
    token = at("token").value.trim();
    sessionStorage.setItem("nn-token", token);
    at("gate").hidden = true;
    start();
  });
  // Strips are drawn in the colour of text.
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => latest && show(latest));
}

async function start() {
  try {
    model = await call("page/model");
  } catch (error) {
    trouble(error.message);
    return;
  }
  trouble(null);
  at("main").hidden = false;
  document.title = `${model.name} · nn serve`;
  at("title").textContent = model.name;
  const widths = model.widths.join("-");
  at("about").textContent = `${widths} ${model.activation}, ${model.parameters.toLocaleString("en")} parameters, trained on ${model.data}, version ${model.version}`;
  at("endpoint").textContent = `POST /v2/models/${model.name}/infer`;
  const longest = Math.max(...model.answers.map((name) => name.length));
  at("bars").style.setProperty("--names", `${Math.min(12, Math.max(1.4, longest * 0.62))}rem`);
  at("bars").hidden = !model.classes;
  const [drawing, form] = [model.image !== null, model.columns.length > 0 && model.columns.length <= 200];
  for (const id of ["drawing", "seeing", "fail"]) at(id).hidden = !drawing;
  at("table").hidden = !form;
  at("main").classList.toggle("rows", !drawing);
  at("file").accept = drawing ? "image/png,image/jpeg,.csv,.npy,.npz" : ".csv,.tsv,.txt,.npy,.npz,.parquet";
  at("file-about").textContent = drawing
    ? "A photograph or scan of one (PNG, JPEG), or a CSV, NPY or IDX file with many samples. Or go on drawing."
    : "A CSV, Parquet or NPY file with many rows. Columns are found by their names.";
  at("hints").replaceChildren(...HINTS.map((hint) => element("li", {}, hint)));
  paper.clear();
  showNothing();
  if (form && !drawing) {
    buildForm();
    askRow();
  }
}

listen();
start();
