/* Keys of the pages: a key presses the link, button or field that has it (data-key). */
"use strict";
const KNOWN = /^([a-zA-Z0-9=?/]|Enter|Arrow(Left|Right))$/;
const typing = (element) => element && /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName);
const has = (key) => (one) => one.dataset.key === key || one.dataset.also === key;

/* The element of a key: in the row of the list that has the focus, else anywhere outside its rows. */
function named(key) {
  const scope = document.activeElement && document.activeElement.closest("[data-scope]");
  const inside = scope ? [...scope.querySelectorAll("[data-key]")].find(has(key)) : null;
  const others = [...document.querySelectorAll("[data-key]")].filter((one) => !one.closest("[data-scope]"));
  return inside || others.find(has(key));
}

function press(key) {
  const here = document.activeElement;
  const list = document.querySelector("[data-list]");
  if (list && (key === "j" || key === "i")) {
    const rows = [...list.querySelectorAll(".open")];
    const row = here && here.closest("[data-scope]");
    const place = row ? rows.indexOf(row.querySelector(".open")) : -1;
    const next = rows[Math.max(0, Math.min(rows.length - 1, place + (key === "j" ? 1 : -1)))];
    if (next) next.focus();
    return Boolean(next);
  }
  const target = named(key);
  if (!target) return false;
  if (target.tagName === "DETAILS") target.open = !target.open;
  else if (typing(target)) { target.focus(); target.select(); }
  else target.click();
  return true;
}

/* Keys that come while a page is on its way are meant for that page. */
let busy = false;
let waiting = [];

document.addEventListener("keydown", (event) => {
  const here = document.activeElement;
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    const save = here && here.form && here.form.querySelector("[data-save]");
    if (save) { event.preventDefault(); save.click(); }
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (typing(here) && !busy) {
    if (event.key === "Escape") {
      const leave = named("Escape");
      if (leave) leave.click(); else here.blur();
    }
    return;
  }
  if (busy) {
    if (KNOWN.test(event.key)) { event.preventDefault(); waiting.push(event.key); }
    return;
  }
  if (press(event.key)) event.preventDefault();
});

/* What was written and not saved is not left without a question. */
const changed = (one) => one.value !== one.defaultValue;
function unsaved() {
  const form = document.querySelector("form.edit");
  return form && ("unsaved" in form.dataset || [...form.querySelectorAll("textarea")].some(changed));
}
window.addEventListener("beforeunload", (event) => { if (unsaved()) event.preventDefault(); });
const leaves = () => !unsaved() || window.confirm("Leave what you wrote here? It is not saved.");
document.addEventListener("htmx:beforeRequest", (event) => {
  if (!event.detail.boosted || event.detail.elt.matches("form.edit")) return;
  if (!leaves()) event.preventDefault();
});
/* Back has changed the address already when it is heard of: who stays goes forward again. */
let staying = false;
window.addEventListener("popstate", (event) => {
  if (!staying && leaves()) return;
  event.stopImmediatePropagation();
  if (!staying) window.history.forward();
  staying = !staying;
});

/* A decision in the list: the row after it has the focus next. */
let after = "";
/* A page is boosted; a part that asks for itself (standing.html.j2) keeps no key waiting. */
document.addEventListener("htmx:beforeRequest", (event) => {
  if (!event.detail.boosted || event.defaultPrevented) return;
  busy = true;
  const row = document.activeElement && document.activeElement.closest("[data-scope]");
  const next = row && (row.nextElementSibling || row);
  after = next ? next.id : "";
});
document.addEventListener("htmx:afterSettle", (event) => {
  if (!event.detail.boosted) return;
  busy = false;
  const row = after && document.getElementById(after);
  if (row) row.querySelector(".open").focus();
  after = "";
  while (waiting.length && !busy && !typing(document.activeElement)) press(waiting.shift());
  if (!busy) waiting = [];
});
for (const failed of ["htmx:sendError", "htmx:timeout", "htmx:sendAbort"]) {
  document.addEventListener(failed, (event) => {
    if (!event.detail.boosted) return;
    busy = false;
    waiting = [];
    if (failed === "htmx:sendError") say("The page no longer answers, and nothing was saved. Start localinstruct review again.");
  });
}
function say(words) {
  const line = document.querySelector("#away") || document.createElement("p");
  line.id = "away";
  line.className = "said";
  line.setAttribute("role", "status");
  line.textContent = words;
  document.querySelector("main").before(line);
}
