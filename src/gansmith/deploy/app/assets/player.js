// The player: frames of one picture, drawn on a canvas; there and back, or in a loop.
let frame = 0;
let step = 1;
let playing = true;
let timer = null;

const parts = () => {
  const player = element.querySelector(".player");
  if (!player) return null;
  const find = (name) => player.querySelector(name);
  return { player, canvas: find("canvas"), frames: find(".frames"), slider: find("[data-frame]"), speed: find("[data-speed]"), button: find("[data-play]") };
};

function draw() {
  const found = parts();
  if (!found || !found.frames.complete || !found.frames.naturalWidth) return;
  const { columns, width, height } = found.player.dataset;
  const [left, top] = [(frame % columns) * width, Math.floor(frame / columns) * height];
  const canvas = found.canvas.getContext("2d");
  canvas.clearRect(0, 0, width, height);
  canvas.drawImage(found.frames, left, top, width, height, 0, 0, width, height);
  found.slider.value = frame;
  found.player.dataset.frame = frame;
}

function tick() {
  const found = parts();
  if (found && playing) {
    const num = Number(found.player.dataset.frames);
    const loop = found.player.dataset.loop === "yes";
    if (loop) frame = (frame + 1) % num;
    else {
      if (frame + step >= num || frame + step < 0) step = -step;
      frame = Math.max(0, Math.min(num - 1, frame + step));
    }
    draw();
  }
  timer = setTimeout(tick, 1000 / Number(found?.speed.value || 15));
}

element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-play]");
  if (!button) return;
  playing = !playing;
  button.textContent = playing ? "pause" : "play";
});
element.addEventListener("input", (event) => {
  if (!event.target.closest("[data-frame]")) return;
  playing = false;
  parts().button.textContent = "play";
  frame = Number(event.target.value);
  draw();
});
watch("value", () => {
  frame = 0;
  step = 1;
  const found = parts();
  if (!found) return;
  found.button.textContent = playing ? "pause" : "play";
  found.frames.decode().then(draw, () => {});
});
clearTimeout(timer);
tick();
