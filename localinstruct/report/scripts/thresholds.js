"use strict";
/* The list of thresholds as a slider: one of them is shown, and drawn in the histogram. */
for (const box of document.querySelectorAll(".thresholds")) {
  const steps = [...box.querySelectorAll(".threshold")];
  if (!steps.length) continue;
  const tools = document.createElement("div");
  const label = document.createElement("label");
  const slider = document.createElement("input");
  const said = document.createElement("output");
  const own = steps.findIndex((step) => step.dataset.threshold === box.dataset.own);
  tools.className = "tools";
  slider.type = "range";
  slider.max = steps.length - 1;
  slider.value = Math.max(0, own);
  label.append("Threshold ", slider);
  tools.append(label, said);
  steps[0].before(tools);
  box.classList.add("sliding");

  const chart = box.querySelector("svg[data-scale]");
  const mark = chart && chart.querySelector(".mark");
  const other = mark && mark.cloneNode();
  if (other) {
    other.setAttribute("class", "other");
    mark.after(other);
  }

  const show = () => {
    const chosen = steps[slider.value];
    for (const step of steps) {
      step.hidden = step !== chosen;
      step.open = step === chosen;
      step.firstElementChild.tabIndex = -1;
    }
    const words = chosen.firstElementChild.textContent.trim();
    slider.setAttribute("aria-valuetext", words);
    said.textContent = Number(chosen.dataset.threshold);
    if (!other) return;
    const [low, high, left, right] = chart.dataset.scale.split(" ").map(Number);
    const share = (chosen.dataset.threshold - low) / (high - low);
    const x = left + Math.min(Math.max(share, 0), 1) * (right - left);
    other.setAttribute("x1", x);
    other.setAttribute("x2", x);
    other.setAttribute("visibility", chosen === steps[own] ? "hidden" : "visible");
  };
  slider.addEventListener("input", show);
  show();
}
