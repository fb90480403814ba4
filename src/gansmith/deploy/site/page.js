// The page: controls, walk, download, and a self-test against stored images.

import { FILES, Generator } from "./engine.js";
import { drawSeed } from "./random.js";

const SEEDS = 12; // small images of further seeds
const STEPS = 90; // images from one latent of a walk to the next
const find = (id) => document.getElementById(id);

let generator, model, walking = 0, drawn = [];

async function start() {
  if (location.protocol === "file:") {
    throw new Error("this page needs a web server; run in its folder: python -m http.server");
  }
  const [program, ...files] = await Promise.all([
    read("model.json").then((answer) => answer.json()),
    ...FILES.map((name) => read(name).then((answer) => answer.arrayBuffer())),
  ]);
  model = program.model;
  generator = await Generator.load(program, ...files);
  build();
  await selfTest(program.self_test);
  await draw();
  await showSeeds();
  await measureSpeed();
}

async function read(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name}: the server answers ${answer.status}; upload the whole folder`);
  return answer;
}

// --- images ------------------------------------------------------------------------------------------------

// Bytes [height width channels] as pixels of a canvas.
function paint(canvas, bytes) {
  const { width, height, channels } = model.image_size;
  canvas.width = width;
  canvas.height = height;
  const image = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = bytes[i * channels + (channels < 3 ? 0 : c)];
    image.data[4 * i + 3] = channels === 4 ? bytes[i * channels + 3] : 255;
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function seed() {
  return find("seed").value.trim() || "0";
}

// The class of the menu, or that of the seed.
function label(own) {
  const chosen = find("class").value;
  return chosen === "" ? own ?? 0 : Number(chosen);
}

function sliders() {
  return [...document.querySelectorAll("#directions input")].map((slider) => Number(slider.value));
}

function shift(z) {
  const moved = Float32Array.from(z);
  sliders().forEach((amount, k) => model.directions[k].forEach((value, i) => (moved[i] += amount * value)));
  return moved;
}

function draw() {
  const own = drawSeed(seed(), model);
  return show(own.z, label(own.label), `seed ${seed()}`);
}

async function show(z, number, title) {
  const began = performance.now();
  paint(find("picture"), await generator.pixels(shift(z), number, Number(find("truncation").value)));
  drawn.push(performance.now());
  const name = model.classes.length ? `, ${model.classes[number]}` : "";
  find("status").textContent = `${title}${name}: ${(performance.now() - began).toFixed(1)} ms`;
}

// --- walk --------------------------------------------------------------------------------------------------

// From one latent to another along the arc between them (Shoemake 1985).
function between(a, b, t) {
  let dot = 0, left = 0, right = 0;
  a.forEach((value, i) => { dot += value * b[i]; left += value * value; right += b[i] * b[i]; });
  const angle = Math.acos(Math.min(1, Math.max(-1, dot / Math.sqrt(left * right || 1)))), sine = Math.sin(angle);
  if (sine < 1e-6) return a.map((value, i) => (1 - t) * value + t * b[i]);
  return a.map((value, i) => (Math.sin((1 - t) * angle) * value + Math.sin(t * angle) * b[i]) / sine);
}

function toggleWalk() {
  const on = !walking;
  walking = on ? requestAnimationFrame(walk(drawSeed(seed(), model))) : (cancelAnimationFrame(walking), 0);
  find("walk").setAttribute("aria-pressed", String(on));
  find("walk").textContent = on ? "pause walk" : "play walk";
}

function walk(from) {
  let step = 0, next = random();
  let to = drawSeed(next, model);
  const number = label(from.label);
  return async function frame() {
    if (step === STEPS) [from, to, step] = [to, drawSeed((next = random()), model), 0];
    await show(between(from.z, to.z, step++ / STEPS), number, `walk to seed ${next}`);
    showSpeed();
    if (walking) walking = requestAnimationFrame(frame);
  };
}

function random() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

function showSpeed() {
  const now = performance.now();
  drawn = drawn.filter((time) => now - time < 1000);
  find("speed").textContent = `${drawn.length} images in the last second`;
}

// How many images a second this browser can compute.
async function measureSpeed() {
  const { z } = drawSeed(0, model), began = performance.now();
  let count = 0;
  while (count < 5 || performance.now() - began < 200) await generator.pixels(z, 0), count++;
  const speed = (1000 * count) / (performance.now() - began);
  find("speed").textContent = `up to ${speed.toFixed(0)} images a second in this browser`;
  document.body.dataset.speed = speed.toFixed(1);
}

// --- self-test ---------------------------------------------------------------------------------------------

// Compares images of seeds with those that PyTorch made when the page was written.
async function selfTest(cases) {
  let worst = 0;
  for (const { seed: number, label: expected, pixels } of cases) {
    const own = drawSeed(number, model), stored = Uint8Array.from(atob(pixels), (letter) => letter.charCodeAt(0));
    if (expected !== null && own.label !== expected) worst = 255;
    const found = await generator.pixels(own.z, expected ?? 0);
    found.forEach((value, i) => (worst = Math.max(worst, Math.abs(value - stored[i]))));
  }
  const passed = worst <= 1, place = find("self-test");
  place.textContent = `self-test ${passed ? "passed" : "failed"}: ${cases.length} images, largest difference ` +
    `${worst}/255 from PyTorch`;
  place.className = passed ? "good" : "bad";
  document.body.dataset.selfTest = passed ? "passed" : "failed";
  document.body.dataset.difference = worst;
}

// --- controls ----------------------------------------------------------------------------------------------

function build() {
  find("class-row").hidden = !model.classes.length;
  find("class").append(new Option("of the seed", ""));
  model.classes.forEach((name, i) => { if (model.class_counts[i] !== 0) find("class").append(new Option(name, i)); });
  model.directions.forEach((_, k) => find("directions").append(makeSlider(k)));
  for (const id of ["seed", "class", "truncation"]) find(id).addEventListener("input", redraw);
  find("class").addEventListener("input", showSeeds);
  find("truncation").addEventListener("input", (event) => { event.target.nextElementSibling.value = Number(event.target.value).toFixed(2); });
  find("random").addEventListener("click", () => { find("seed").value = random(); redraw(); showSeeds(); });
  find("reset").addEventListener("click", () => {
    document.querySelectorAll("#directions input").forEach((slider) => { slider.value = 0; slider.nextElementSibling.value = "0.0"; });
    redraw();
  });
  find("walk").addEventListener("click", toggleWalk);
  find("download").addEventListener("click", download);
}

function redraw() {
  if (!walking) draw();
}

function makeSlider(k) {
  const row = document.createElement("div"), slider = document.createElement("input");
  const title = document.createElement("label"), value = document.createElement("output");
  row.className = "row";
  slider.id = `direction-${k}`;
  title.htmlFor = slider.id;
  title.textContent = `direction ${k + 1}`;
  Object.assign(slider, { type: "range", min: -4, max: 4, step: 0.1, value: 0 });
  value.value = "0.0";
  slider.addEventListener("input", () => { value.value = Number(slider.value).toFixed(1); redraw(); });
  row.append(title, slider, value);
  return row;
}

async function showSeeds() {
  const first = BigInt(seed().split(".")[0] || 0);
  const numbers = Array.from({ length: SEEDS }, (_, i) => String(first + BigInt(i)));
  const images = await Promise.all(numbers.map((number) => {
    const own = drawSeed(number, model);
    return generator.pixels(own.z, label(own.label));
  }));
  find("seeds").replaceChildren(...numbers.map((number, i) => {
    const button = document.createElement("button"), canvas = document.createElement("canvas");
    paint(canvas, images[i]);
    button.type = "button";
    button.append(canvas, number);
    button.addEventListener("click", () => { find("seed").value = number; redraw(); });
    return button;
  }));
}

function download() {
  find("picture").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `seed${seed()}${find("class").value === "" ? "" : `_class${find("class").value}`}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
}

start().catch((error) => {
  find("status").textContent = error.message;
  find("status").className = "bad";
  document.body.dataset.selfTest = "failed";
});
