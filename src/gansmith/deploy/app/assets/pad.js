// The pad: a dot over a map of pictures; its place is a step along two directions, from -1 to 1 of the reach.
let at = [0, 0];
let asked = 0; // number of the last request; the next waits for its answer
let busy = false;
let moved = false;

const pad = () => element.querySelector(".pad");

function draw() {
  const dot = element.querySelector(".dot");
  if (!dot) return;
  dot.style.left = `${50 + 50 * at[0]}%`;
  dot.style.top = `${50 - 50 * at[1]}%`;
}

function send() {
  moved = false;
  busy = true;
  asked += 1;
  const mine = asked;
  setTimeout(() => { if (mine === asked) answered(mine); }, 5000); // the answer was lost
  trigger("drag", { x: at[0], y: at[1], turn: mine });
}

function answered(turn) {
  if (turn !== asked || !busy) return;
  busy = false;
  if (moved) send();
}

function move(x, y) {
  at = [x, y].map((value) => Math.max(-1, Math.min(1, value)));
  draw();
  moved = true;
  if (!busy) send();
}

function follow(event) {
  const box = pad().getBoundingClientRect();
  move((2 * (event.clientX - box.left)) / box.width - 1, 1 - (2 * (event.clientY - box.top)) / box.height);
}

element.addEventListener("pointerdown", (event) => {
  if (!event.target.closest(".pad")) return;
  event.preventDefault();
  element.dataset.dragging = "yes";
  try { pad().setPointerCapture(event.pointerId); } catch { /* the pointer is gone */ }
  pad().focus();
  follow(event);
});
element.addEventListener("pointermove", (event) => { if (element.dataset.dragging) follow(event); });
for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { delete element.dataset.dragging; });
element.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
  if (!step || !event.target.closest(".pad")) return;
  event.preventDefault();
  move(at[0] + 0.1 * step[0], at[1] + 0.1 * step[1]);
});
watch("dot", () => {
  const [x, y, turn] = String(props.dot).split(",").map(Number);
  if (turn) answered(turn);
  else if (Number.isFinite(x + y)) at = [x, y];
  draw();
});
watch("value", draw);
draw();
