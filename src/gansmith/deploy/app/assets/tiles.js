// A click on a picture starts from its seed; a click on a run's name chooses the run.
element.addEventListener("click", (event) => {
  const picture = event.target.closest("[data-seed]");
  if (picture) trigger("pick", { seed: picture.dataset.seed });
  const run = event.target.closest("[data-run]");
  if (run) trigger("choose", { run: run.dataset.run });
});
