// The network of a run: what it confuses, its mistakes, and what its first layer looks at.
import { element, short } from "./charts.js";
import { ask } from "./server.js";

const at = (id) => document.getElementById(id);
const UNITS = 64; // as many as the server sends at once

let shown = { run: null, network: null, from: 0, cell: null };

// Shows the network of a run, anew if it has changed.
export async function showNetwork(run) {
  let network;
  try {
    network = await ask(`runs/${run}/network`);
  } catch (error) {
    if (shown.run !== run || !shown.network) {
      shown = { run, network: null, from: 0, cell: null };
      at("network-text").textContent = error.message;
      for (const part of ["matrix", "cell", "wrong", "first"]) at(part).hidden = true;
    }
    return;
  }
  if (shown.run !== run) shown = { run, network: null, from: 0, cell: null };
  if (shown.network?.params_sha256 === network.params_sha256) return;
  shown.network = network;
  const { classes, samples, set, epoch, correct } = network;
  const right = correct === undefined ? "" : `: ${correct} of ${samples} right`;
  at("network-text").textContent = `After epoch ${epoch}, on the ${samples} ${set} samples${right}. Weights ${network.params_sha256.slice(0, 12)}.`;
  at("matrix").hidden = !network.confusion;
  if (network.confusion) showConfusion(network);
  at("wrong").hidden = !network.mistakes?.length;
  if (network.mistakes) at("mistakes").replaceChildren(...network.mistakes.map((sample) => tile(sample, network)));
  at("cell").hidden = !shown.cell || !classes;
  if (shown.cell && classes) await showCell(...shown.cell, false);
  at("first").hidden = !network.units;
  if (network.units) await showUnits(Math.min(shown.from, network.units - 1));
}

function showConfusion({ classes, confusion }) {
  const head = element("tr", {}, element("th", { scope: "col" }, "is ↓ taken for →"), ...classes.map((name) => element("th", { scope: "col", class: "number" }, name)));
  const rows = confusion.map((row, truth) => {
    const all = row.reduce((sum, count) => sum + count, 0);
    const cells = row.map((count, predicted) => {
      const cell = element("td", { class: truth === predicted ? "right" : "" });
      if (count === 0) {
        cell.append(element("span", {}, "0"));
      } else {
        const words = `${count} of ${all} samples of ${classes[truth]} are taken for ${classes[predicted]}`;
        const button = element("button", { type: "button", title: words, "aria-label": words }, String(count));
        // What is wrong stands out, and even one sample of many can be seen.
        if (truth !== predicted) button.style.background = `rgba(var(--shade), ${0.12 + 0.6 * Math.min(1, (count / all) * 8)})`;
        button.addEventListener("click", () => showCell(truth, predicted, true));
        cell.append(button);
      }
      return cell;
    });
    return element("tr", {}, element("th", { scope: "row" }, classes[truth]), ...cells);
  });
  at("confusion").replaceChildren(element("thead", {}, head), element("tbody", {}, ...rows));
}

async function showCell(truth, predicted, moves, from = 0) {
  const { run, network } = shown;
  shown.cell = [truth, predicted];
  const { all, samples } = await ask(`runs/${run}/cell/${truth}/${predicted}/${from}`);
  if (shown.run !== run || shown.network !== network) return;
  const [is, seen] = [network.classes[truth], network.classes[predicted]];
  at("cell").hidden = false;
  at("cell-title").textContent = `${all} ${all === 1 ? "sample" : "samples"} of ${is} taken for ${seen}`;
  const tiles = samples.map((sample) => tile(sample, network));
  if (from === 0) at("cell-samples").replaceChildren(...tiles);
  else at("cell-samples").append(...tiles);
  const told = from + samples.length;
  at("cell-more").hidden = told >= all || samples.length === 0;
  at("cell-more").onclick = () => showCell(truth, predicted, false, told);
  if (moves) at("cell").focus();
}

// A sample with what it is and what it is taken for.
function tile({ sample, truth, predicted, output, pixels }, { classes, image }) {
  const words = `${classes[truth]} → ${classes[predicted]}`;
  const item = element("li", { "data-sample": sample });
  if (pixels && image) item.append(picture(pixels, image, words, (value) => [value, value, value]));
  item.append(element("div", {}, words), element("div", { class: "quiet" }, `${short(output)} · #${sample}`));
  return item;
}

function picture(values, [height, width], words, shade) {
  const canvas = element("canvas", { width, height, role: "img", "aria-label": words });
  const context = canvas.getContext("2d");
  const drawn = context.createImageData(width, height);
  values.forEach((value, place) => {
    const [red, green, blue] = shade(value);
    drawn.data.set([red, green, blue, 255], place * 4);
  });
  context.putImageData(drawn, 0, 0);
  return canvas;
}

// Blue for below 0, white for 0, red for above: also told apart by those who confuse red and green.
function diverging(value) {
  const far = Math.min(1, Math.abs(value) / 100) ** 0.7;
  const end = value < 0 ? [33, 102, 172] : [178, 24, 43];
  return end.map((part) => Math.round(255 + (part - 255) * far));
}

async function showUnits(from) {
  const { run, network } = shown;
  const first = Math.max(0, Math.floor(from / UNITS) * UNITS);
  const { units, largest, tiles } = await ask(`runs/${run}/weights/${first}`);
  if (shown.run !== run || shown.network !== network) return;
  shown.from = first;
  at("first-text").textContent = `One picture for each unit: red for weights above 0, blue for those below, white for 0; the strongest is ${short(largest)}.`;
  at("units").replaceChildren(...tiles.map((values, number) => element("li", {}, picture(values, network.image, `Weights of unit ${first + number}`, diverging), String(first + number))));
  at("units-text").textContent = `${first} to ${first + tiles.length - 1} of ${units}`;
  at("units-back").disabled = first === 0;
  at("units-on").disabled = first + UNITS >= units;
  for (const button of ["units-back", "units-on"]) at(button).hidden = units <= UNITS;
}

at("units-back").addEventListener("click", () => showUnits(shown.from - UNITS));
at("units-on").addEventListener("click", () => showUnits(shown.from + UNITS));
