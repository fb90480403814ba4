// Sends a chosen or dropped picture, and shows it meanwhile.
async function send(file) {
  const box = element.querySelector(".drop");
  const say = (text) => { element.querySelector(".said").textContent = text; };
  if (!file) return;
  if (file.size > Number(box.dataset.most)) {
    say(`This file has ${(file.size / 1e6).toFixed(0)} MB; expected at most ${(box.dataset.most / 1e6).toFixed(0)} MB.`);
    return;
  }
  say("sending ...");
  let answer;
  try {
    answer = await fetch("upload", { method: "POST", body: file });
  } catch {
    say("The page does not answer any more.");
    return;
  }
  const text = await answer.text();
  say(answer.ok ? file.name : text);
  if (answer.ok) trigger("upload", { name: text });
}

element.addEventListener("change", (event) => {
  if (event.target.matches("input[type=file]")) send(event.target.files[0]);
});
for (const name of ["dragover", "dragleave", "drop"]) {
  element.addEventListener(name, (event) => {
    event.preventDefault();
    element.querySelector(".drop").classList.toggle("over", name === "dragover");
    if (name === "drop") send(event.dataTransfer.files[0]);
  });
}
