// Pictures of what goes on inside the network: what it sees, its activations, and its weights.

export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// Paints a grid of greys, one number from 0 for black to 255 for white a pixel.
function paint(canvas, width, height, grey) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const picture = context.createImageData(width, height);
  for (let at = 0; at < width * height; at++) {
    const level = grey(at);
    picture.data.set([level, level, level, 255], at * 4);
  }
  context.putImageData(picture, 0, 0);
}

// The picture as the network sees it: light ink on dark paper, as in MNIST.
export function showSeen(canvas, [height, width], pixels) {
  paint(canvas, width, height, (at) => pixels[at]);
  const ink = pixels.filter((level) => level > 127).length;
  canvas.setAttribute("aria-label", `The framed picture, ${height} by ${width} pixels, ${ink} of them with ink`);
}

// A layer as cells: filled for positive activations, hollow for negative ones, larger for stronger ones.
function strip(layer, room) {
  const count = layer.activations.length;
  const size = count > 1024 ? 6 : count > 128 ? 9 : 12;
  const across = Math.min(count, Math.max(16, Math.floor(room / size)));
  const canvas = element("canvas", { role: "img" });
  // Twice as many pixels, so that cells are sharp on fine screens.
  canvas.width = across * size * 2;
  canvas.height = Math.ceil(count / across) * size * 2;
  canvas.style.width = `${across * size}px`;
  const context = canvas.getContext("2d");
  context.scale(2, 2);
  const colours = getComputedStyle(document.documentElement);
  context.fillStyle = context.strokeStyle = colours.getPropertyValue("--ink");
  layer.activations.forEach((activation, at) => {
    const [x, y] = [(at % across) * size, Math.floor(at / across) * size];
    const side = Math.max(1, ((size - 2) * Math.sqrt(Math.abs(activation))) / 10);
    const corner = [x + (size - side) / 2, y + (size - side) / 2];
    if (activation > 0) context.fillRect(...corner, side, side);
    else if (activation < 0) context.strokeRect(...corner, side, side);
    else context.fillRect(x + size / 2 - 0.5, y + size / 2 - 0.5, 1, 1);
  });
  return canvas;
}

export function showLayers(place, layers, activation) {
  place.replaceChildren(
    ...layers.map((layer, at) => {
      const active = layer.activations.filter((one) => one !== 0).length;
      const strongest = layer.activations.reduce((best, one, unit, all) => (Math.abs(one) > Math.abs(all[best]) ? unit : best), 0);
      const words = `Hidden layer ${at + 1}: ${layer.activations.length} units (${activation}), ${active} of them active; unit ${strongest} is strongest, with ${short(layer.largest)}`;
      const canvas = strip(layer, place.clientWidth);
      canvas.setAttribute("aria-label", words);
      return element("div", { class: "layer" }, element("span", { class: "quiet small" }, words), canvas);
    }),
  );
}

export const short = (number) => (Math.abs(number) >= 100 ? number.toFixed(0) : Math.abs(number) >= 1 ? number.toFixed(2) : number.toFixed(3));
const signed = (number) => (number < 0 ? "−" : "+") + short(Math.abs(number));

// The units that pull most at an answer; with pictures of their weights if the inputs are pictures.
export function showReasons(place, model, answer) {
  const hasHidden = answer.layers.length > 0;
  place.classList.toggle("words", !model.image);
  place.replaceChildren(
    ...answer.reasons.map((reason) => {
      const item = element("li");
      if (reason.weights) {
        const [height, width] = model.image;
        const canvas = element("canvas", { class: "pixels", role: "img", "aria-label": `Weights of unit ${reason.unit}` });
        paint(canvas, width, height, (at) => 128 + reason.weights[at] * 1.27);
        item.append(canvas);
      }
      const about = hasHidden ? `unit ${reason.unit}` : "its weights";
      item.append(element("div", { class: "small" }, `${about} `, element("b", {}, signed(reason.pull))));
      if (reason.inputs.length) {
        const inputs = reason.inputs.map(([name, pull]) => `${name} ${signed(pull)}`).join(", ");
        item.append(element("div", { class: "quiet small" }, inputs));
      }
      return item;
    }),
  );
}

export function reasonsInWords(model, answer, name) {
  const of = model.image ? " Each picture shows a unit's weights: light where ink excites it, dark where ink inhibits it." : "";
  if (!answer.layers.length) return `There is no hidden layer: the weights themselves speak for ${name}.${of}`;
  return `Units of the first hidden layer that pull most for (+) or against (−) ${name}: activation times the weights on the way there.${of}`;
}
