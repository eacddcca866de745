// Keys of the pages: a key presses the link, button or field that has it (data-key).
"use strict";
const typing = (element) => element && /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);
const named = (root, key) =>
  [...root.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key || one.dataset.also === key);

document.addEventListener("keydown", (event) => {
  const here = document.activeElement;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const save = here && here.form && here.form.querySelector("[data-save]");
    if (save) { event.preventDefault(); save.click(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing(here)) {
    if (event.key === "Escape") {
      const leave = named(document, "Escape");
      if (leave) leave.click(); else here.blur();
    }
    return;
  }
  const list = document.querySelector("[data-list]");
  if (list && (event.key === "j" || event.key === "i")) {
    const rows = [...list.querySelectorAll(".open")];
    const place = rows.indexOf(here && here.closest("li") && here.closest("li").querySelector(".open"));
    const next = rows[Math.max(0, Math.min(rows.length - 1, place + (event.key === "j" ? 1 : -1)))];
    if (next) { event.preventDefault(); next.focus(); }
    return;
  }
  const scope = here && here.closest("[data-scope]");
  const target = (scope && named(scope, event.key)) ||
    [...document.querySelectorAll("[data-key]")].find((one) => !one.closest("[data-scope]") &&
      (one.dataset.key === event.key || one.dataset.also === event.key));
  if (!target) return;
  event.preventDefault();
  if (target.tagName === "DETAILS") target.open = !target.open;
  else if (typing(target)) { target.focus(); target.select(); }
  else target.click();
});

// A decision in the list: the row after it has the focus next.
let after = "";
document.addEventListener("htmx:beforeRequest", () => {
  const row = document.activeElement && document.activeElement.closest("[data-scope]");
  const next = row && (row.nextElementSibling || row);
  after = next ? next.id : "";
});
document.addEventListener("htmx:afterSettle", () => {
  const row = after && document.getElementById(after);
  if (row) row.querySelector(".open").focus();
  after = "";
});
