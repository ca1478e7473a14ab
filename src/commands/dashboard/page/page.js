// The page of nn dashboard: the runs as the server tells them, as tables and curves.
import { Chart, element, key, short } from "./charts.js";
import { showNetwork } from "./network.js";
import { ask, follow, setToken } from "./server.js";

const at = (id) => document.getElementById(id);
const SETS = ["train", "validation", "test"];
const MOST = 12; // curves in a chart: more are a tangle
const MARKS = 200;
const PAUSE = 200; // milliseconds between two drawings

let runs = []; // by the server's numbers: { facts, lines, every, now }
let version = null;
let hidden = new Set(); // folders of runs that the user has put away
let axis = "epochs";
let logarithmic = false;
const charts = new Map();

const percent = (part) => `${(part * 100).toFixed(2)} %`;
const whole = (number) => Math.round(number).toLocaleString("en");
const seconds = (time) => (time < 60 ? `${time.toFixed(1)} s` : time < 3600 ? `${Math.floor(time / 60)} min ${Math.round(time % 60)} s` : `${Math.floor(time / 3600)} h ${Math.round((time % 3600) / 60)} min`);
const bytes = (number) => {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) [number, unit] = [number / 1000, unit + 1];
  return `${unit ? number.toPrecision(3) : number} ${units[unit]}`;
};

// ---------------------------------------------------------------- what the server tells

function told(kind, data) {
  if (kind === "hello") {
    if (version !== null && version !== data.version) {
      at("trouble").hidden = false;
      at("trouble").textContent = `The server is nn ${data.version} now, and this page is of nn ${version}: reload it.`;
    }
    version ??= data.version;
    // Everything is told anew, perhaps by another server.
    runs = [];
    return;
  }
  if (kind === "end") {
    ended = true;
    return;
  }
  const run = (runs[data.run] ??= { facts: null, lines: [], every: 1, now: null });
  if (kind === "run") run.facts = data.facts;
  if (kind === "now") run.now = data.now;
  if (kind === "lines") {
    if (data.anew) run.lines = [];
    run.lines.push(...data.lines);
    run.every = data.every;
    if (data.lines.some((line) => line.epoch && SETS.slice(1).some((set) => line[`${set}_loss`] !== undefined && line[`${set}_loss`] !== null))) networkIsOld = true;
  }
  drawSoon();
}

let ended = false;
let networkIsOld = true;
let drawing = null;
function drawSoon() {
  drawing ??= setTimeout(() => {
    drawing = null;
    draw();
  }, PAUSE);
}

function linked(state) {
  if (state === "locked") {
    at("gate").hidden = false;
    at("main").hidden = true;
    at("link").textContent = "A token is needed.";
    at("token").focus();
    return;
  }
  at("gate").hidden = true;
  if (state === "open") {
    ended = false;
    askSweeps();
  }
  const over = "The run has ended, and its server with it. nn dashboard shows it again.";
  at("link").textContent = state === "open" ? "Live" : ended ? over : "The server does not answer; trying again …";
  at("link").dataset.state = state;
}

// ---------------------------------------------------------------- drawing

const known = () => runs.map((run, number) => ({ ...run, number })).filter((run) => run.facts);
const name = (run) => run.facts.name;

function draw() {
  const all = known();
  at("main").hidden = all.length === 0;
  if (all.length === 0) {
    if (runs.length === 0) at("link").textContent = "No runs yet.";
    return;
  }
  const one = all.length === 1 ? all[0] : null;
  at("title").textContent = one ? name(one) : `${all.length} runs`;
  document.title = `${one ? `${name(one)} · ${one.facts.state}` : `${all.length} runs`} · nn`;
  at("runs-title").textContent = one ? "Run" : "Runs";
  const shown = all.filter((run) => !hidden.has(run.facts.folder)).slice(0, MOST);
  drawProgress(one);
  drawRuns(all, shown);
  drawCluster(one);
  drawCharts(shown);
  drawEvents(shown);
  drawWhich(all);
  if (networkIsOld) askNetwork();
}

function drawProgress(run) {
  at("progress").hidden = !run?.now;
  if (!run?.now) return;
  const { steps, total_steps: total, steps_before: before, epoch, epochs, loss, seconds: time, learning_rate: learning } = run.now;
  at("bar").value = total ? steps / total : 0;
  const running = run.facts.state === "running";
  const left = running && time && steps > before ? ` · about ${seconds(((total - steps) / (steps - before)) * time)} left` : "";
  at("progress-text").textContent = `epoch ${epoch || "–"} of ${epochs} · step ${whole(steps)} of ${whole(total)} · loss ${short(loss)} · learning rate ${short(learning)} · ${seconds(time)}${left}`;
}

const FIGURES = [
  ["validation_accuracy", "validation", percent],
  ["test_accuracy", "test", percent],
  ["validation_r2", "validation R²", short],
  ["test_r2", "test R²", short],
  ["test_loss", "test loss", short],
  ["train_loss", "train loss", short],
  ["epsilon", "ε", short],
  ["samples_per_second", "samples/s", whole],
];

// The figures of a run: those of its end, or of its last epoch.
function figures(run) {
  const epochs = run.lines.filter((line) => line.epoch);
  const last = epochs.at(-1);
  return run.facts.state === "running" ? (last ?? run.facts.summary ?? {}) : (run.facts.summary ?? last ?? {});
}

// The options that do not have the same value everywhere.
function differing(all) {
  const keys = new Set(all.flatMap((run) => Object.keys(run.facts.options)));
  return [...keys].filter((option) => all.some((run) => run.facts.options[option] !== all[0].facts.options[option])).sort();
}

function drawRuns(all, shown) {
  const options = all.length > 1 ? differing(all) : [];
  const numbers = FIGURES.filter(([figure]) => all.some((run) => Number.isFinite(figures(run)[figure])));
  const heads = [...(all.length > 1 ? ["", "run"] : []), "state", "epochs", ...numbers.map(([, title]) => title)];
  const row = (parts) => element("tr", {}, ...parts);
  const head = row([...heads.map((title) => element("th", { scope: "col" }, title)), ...options.map((option) => element("th", { scope: "col", class: "differs" }, `--${option}`))]);
  const focused = document.activeElement?.dataset?.folder;
  const rows = all.map((run) => {
    const { facts } = run;
    const cells = [];
    if (all.length > 1) {
      const box = element("input", { type: "checkbox", "aria-label": `Show ${name(run)}`, "data-folder": facts.folder });
      box.checked = shown.some((other) => other.number === run.number);
      box.addEventListener("change", () => {
        if (box.checked) hidden.delete(facts.folder);
        else hidden.add(facts.folder);
        draw();
      });
      const place = shown.findIndex((other) => other.number === run.number);
      cells.push(element("td", {}, box, place >= 0 ? key(place) : ""), element("th", { scope: "row", title: facts.folder }, name(run)));
    }
    const epochs = run.lines.filter((line) => line.epoch).at(-1)?.epoch ?? 0;
    const planned = facts.options.epochs;
    cells.push(element("td", {}, facts.state), element("td", {}, planned ? `${epochs}/${planned}` : String(epochs)));
    for (const [figure, , say] of numbers) {
      const value = figures(run)[figure];
      cells.push(element("td", { class: "number", "data-figure": figure, "data-value": value ?? "" }, Number.isFinite(value) ? say(value) : "–"));
    }
    for (const option of options) cells.push(element("td", { class: "text", title: facts.options[option] ?? "" }, facts.options[option] ?? "–"));
    return row(cells);
  });
  at("runs").tHead.replaceChildren(head);
  at("runs").tBodies[0].replaceChildren(...rows);
  if (focused) at("runs").querySelector(`[data-folder="${CSS.escape(focused)}"]`)?.focus();
  const damaged = all.reduce((sum, run) => sum + run.facts.damaged_lines, 0);
  at("runs-note").hidden = damaged === 0;
  at("runs-note").textContent = `${damaged} lines of the logs are damaged, and are left out.`;
}

function drawCluster(run) {
  const cluster = run?.now?.cluster;
  at("cluster").hidden = !cluster;
  if (!cluster) return;
  const parts = [cluster.state === "over" ? `over: ${cluster.outcome}` : cluster.state];
  if (cluster.waiting_for) parts.push(`waiting for ${cluster.waiting_for} (${seconds(cluster.waiting_seconds)})`);
  parts.push(`${cluster.refused} contributions refused`, `${cluster.reissued} parts given to another worker`);
  if (cluster.connections_refused) parts.push(`${cluster.connections_refused} connections refused`);
  at("cluster-text").textContent = parts.join(" · ");
  const heads = ["worker", "state", "share", "samples/s", "sent", "received", "a second", "last heard", "refused"];
  const rows = cluster.workers.map((worker) => {
    const cells = [
      worker.state,
      percent(worker.share),
      worker.samples_per_second ? whole(worker.samples_per_second) : "–",
      bytes(worker.bytes_sent),
      bytes(worker.bytes_received),
      bytes(Math.round(worker.bytes_per_second)),
      `${worker.silent_seconds.toFixed(1)} s ago`,
      worker.refused,
    ];
    return element("tr", { "data-worker": worker.name }, element("th", { scope: "row", title: worker.address }, `${worker.name} (${worker.worker})`), ...cells.map((cell) => element("td", { class: "number" }, String(cell))));
  });
  at("workers").tHead.replaceChildren(element("tr", {}, ...heads.map((title, place) => element("th", { scope: "col", class: place ? "number" : "" }, title))));
  at("workers").tBodies[0].replaceChildren(...rows);
  at("quarantine").replaceChildren(...cluster.quarantined.map((gone) => element("li", {}, `${gone.name} (${gone.worker}) is in quarantine: ${gone.reason}`)));
}

// ---------------------------------------------------------------- curves

// The epochs of a run with their place on the axis, and what happened with its own. A resumed run counts its seconds anew.
function timeline(run) {
  const epochs = [];
  const events = [];
  let before = 0;
  let last = 0;
  const lastEpoch = run.lines.filter((line) => line.epoch && line.steps).at(-1);
  const perEpoch = lastEpoch ? lastEpoch.steps / lastEpoch.epoch : null;
  for (const line of run.lines) {
    if (line.event === "resumed") before = last;
    const time = before + line.seconds;
    last = Math.max(last, time);
    if (line.epoch) epochs.push({ line, x: axis === "epochs" ? line.epoch : time });
    else events.push({ line, time, x: axis === "seconds" ? time : perEpoch ? line.step / perEpoch : 0 });
  }
  return { epochs, events };
}

const SIGNS = { joined: "+", left: "−", removed: "×", resumed: "↻" };
const WORDS = { joined: "joined", left: "left: its connection ended", removed: "was sent away", resumed: "The run was resumed" };

function inWords({ event, worker, reason }) {
  return [event === "resumed" ? WORDS.resumed : `${worker} ${WORDS[event] ?? event}`, reason].filter(Boolean).join(": ");
}

function drawEvents(shown) {
  const lines = shown.flatMap((run) => timeline(run).events.map((event) => ({ ...event, of: shown.length > 1 ? `${name(run)}: ` : "" })));
  at("happened").hidden = lines.length === 0;
  at("events").replaceChildren(
    ...lines.slice(-MARKS).map(({ line, time, of }) => element("li", { "data-event": line.event, "data-worker": line.worker ?? "" }, `${SIGNS[line.event] ?? "·"} ${of}step ${line.step}, ${seconds(time)}: ${inWords(line)}`)),
  );
}

// One chart has several curves over one axis.
function chart(id, title, curves, marks) {
  const full = curves.filter((curve) => curve.points.length > 0);
  let known = charts.get(id);
  if (full.length === 0) {
    known?.box.remove();
    charts.delete(id);
    return;
  }
  if (!known) {
    known = new Chart(title);
    charts.set(id, known);
    known.box.id = `chart-${id}`;
  }
  const x = [...new Set(full.flatMap((curve) => curve.points.map(([place]) => place)))].sort((a, b) => a - b);
  const places = new Map(x.map((place, index) => [place, index]));
  const series = full.map(({ name: called, number, points }) => {
    const values = new Array(x.length).fill(null);
    for (const [place, value] of points) values[places.get(place)] = value;
    return { name: called, number, values };
  });
  if (!known.box.isConnected) at("charts").append(known.box);
  const positive = series.every(({ values }) => values.every((value) => value === null || value > 0));
  known.update({ x, xName: axis === "epochs" ? "epoch" : "seconds", series, marks, logarithmic: logarithmic && id.startsWith("loss") && positive });
}

function drawCharts(shown) {
  const times = shown.map(timeline);
  const marks = times.length === 1 ? times[0].events.slice(-MARKS).map(({ x, line }) => ({ x, sign: SIGNS[line.event] ?? "·" })) : [];
  const points = (time, value) => time.epochs.map(({ line, x }) => [x, value(line)]).filter(([, number]) => Number.isFinite(number));
  const wanted = [];
  const add = (id, title, curves) => wanted.push([id, title, curves]);
  for (const [figure, title, times100] of [["loss", "Loss", 1], ["accuracy", "Accuracy in %", 100], ["r2", "R²", 1]]) {
    const value = (set) => (line) => (Number.isFinite(line[`${set}_${figure}`]) ? line[`${set}_${figure}`] * times100 : NaN);
    if (shown.length === 1) {
      add(figure, title, SETS.map((set, number) => ({ name: set, number, points: points(times[0], value(set)) })));
    } else {
      for (const set of SETS) add(`${figure}-${set}`, `${title}, ${set}`, shown.map((run, number) => ({ name: name(run), number, points: points(times[number], value(set)) })));
    }
  }
  for (const [figure, title] of [["samples_per_second", "Samples a second"], ["learning_rate", "Learning rate"], ["noise_scale", "Gradient noise scale"], ["epsilon", "ε of differential privacy"]]) {
    add(figure, title, shown.map((run, number) => ({ name: shown.length === 1 ? title : name(run), number, points: points(times[number], (line) => line[figure]) })));
  }
  if (shown.length === 1) {
    const layers = Math.max(0, ...times[0].epochs.map(({ line }) => line.gradient_norm?.length ?? 0));
    add("gradient", "Norm of the gradient", Array.from({ length: layers }, (_, layer) => ({ name: `layer ${layer + 1}`, number: layer, points: points(times[0], (line) => line.gradient_norm?.[layer] ?? NaN) })));
  } else {
    const norm = (line) => (line.gradient_norm ? Math.hypot(...line.gradient_norm) : NaN);
    add("gradient", "Norm of the gradient", shown.map((run, number) => ({ name: name(run), number, points: points(times[number], norm) })));
  }
  for (const id of [...charts.keys()].filter((id) => !wanted.some(([other]) => other === id))) {
    charts.get(id).box.remove();
    charts.delete(id);
  }
  for (const [id, title, curves] of wanted) chart(id, title, curves, marks);
  const all = known().length;
  const thinned = Math.max(...shown.map((run) => run.every), 1);
  const notes = [];
  if (all > shown.length) notes.push(`${shown.length} of ${all} runs; choose them in the table above.`);
  if (thinned > 1) notes.push(`The runs are long: every ${thinned}th epoch is shown.`);
  if (charts.size === 0) notes.push("There are no curves before the first epoch is over.");
  at("curves-note").hidden = notes.length === 0;
  at("curves-note").textContent = notes.join(" ");
}

// ---------------------------------------------------------------- the network

function drawWhich(all) {
  at("which").hidden = all.length < 2;
  const select = at("of");
  if (select.options.length !== all.length) {
    const chosen = select.value;
    select.replaceChildren(...all.map((run) => element("option", { value: run.number }, name(run))));
    if ([...select.options].some((option) => option.value === chosen)) select.value = chosen;
  }
}

let asking = false;
async function askNetwork() {
  if (asking || document.hidden) return;
  asking = true;
  networkIsOld = false;
  const all = known();
  const run = all.length > 1 ? Number(at("of").value) : all[0].number;
  try {
    await showNetwork(run);
  } catch (error) {
    at("network-text").textContent = error.message;
  }
  setTimeout(() => {
    asking = false;
    if (networkIsOld) askNetwork();
  }, 1000);
}

// ---------------------------------------------------------------- sweeps

const SWEEPS = 10000; // milliseconds between two questions
let sweepsShown = "";

// The sections about sweeps, which the server writes as nn report does.
async function askSweeps() {
  try {
    const { html } = await ask("sweeps");
    const box = at("sweeps");
    box.hidden = html === "";
    if (sweepsShown !== html && !box.contains(document.activeElement)) {
      const open = [...box.querySelectorAll("details")].map((one) => one.open);
      sweepsShown = html;
      box.innerHTML = html;
      box.querySelectorAll("details").forEach((one, place) => (one.open = open[place] ?? one.open));
    }
  } catch {
    // The link says what is wrong.
  }
}
setInterval(() => {
  if (!document.hidden && at("link").dataset.state === "open") askSweeps();
}, SWEEPS);

// ---------------------------------------------------------------- the user

at("of").addEventListener("change", () => {
  networkIsOld = true;
  asking = false;
  askNetwork();
});
at("axis").addEventListener("change", (event) => {
  axis = event.target.value;
  draw();
});
at("logarithmic").addEventListener("change", (event) => {
  logarithmic = event.target.checked;
  draw();
});
at("entrance").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(at("token").value.trim());
  at("token").value = "";
  follow(told, linked);
});
document.addEventListener("visibilitychange", () => networkIsOld && known().length && askNetwork());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => charts.forEach((one) => one.rebuild()));

follow(told, linked);
