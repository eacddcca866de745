"use strict";
/* Tables of class sortable: a button in each heading sorts, a field above a long one searches.
   Rows of class strong keep their place. Without this file they are plain tables. */
{
  const LONG = 8;

  const value = (row, column) => {
    const cell = row.cells[column];
    const text = cell ? cell.dataset.value ?? cell.textContent.trim() : "";
    const number = /^[<>]?\s*([+\u2212-]?[\d,]*\.?\d+)/.exec(text);
    return number ? parseFloat(number[1].replace(/,/g, "").replace("\u2212", "-")) : text;
  };

  const compare = (one, other) => {
    if (typeof one === "number" && typeof other === "number") return one - other;
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return one.localeCompare(other);
  };

  const sort = (table, heading, column) => {
    const isRising = heading.getAttribute("aria-sort") === "descending"
      || (!heading.hasAttribute("aria-sort") && !heading.classList.contains("num"));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isRising ? "ascending" : "descending");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const free = rows.filter((row) => !row.classList.contains("strong"));
    const keys = new Map(free.map((row) => [row, value(row, column)]));
    free.sort((one, other) => (isRising ? 1 : -1) * compare(keys.get(one), keys.get(other)));
    body.append(...rows.map((row) => (row.classList.contains("strong") ? row : free.shift())));
  };

  const search = (table) => {
    const tools = document.createElement("div");
    const label = document.createElement("label");
    const field = document.createElement("input");
    const said = document.createElement("output");
    tools.className = "tools";
    field.type = "search";
    label.append("Search ", field);
    tools.append(label, said);
    table.before(tools);
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
        shown += row.hidden ? 0 : 1;
      }
      said.textContent = wanted ? `${shown} of ${table.tBodies[0].rows.length} rows` : "";
    });
  };

  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[0].cells].forEach((heading, column) => {
      if (heading.classList.contains("chartcell") || !heading.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sort(table, heading, column));
    });
    if (table.tBodies[0].rows.length > LONG) search(table);
  }
}
