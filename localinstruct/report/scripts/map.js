"use strict";
/* The map of the rows: a click, an arrow key or a word chooses a row, whose texts are shown as text. */
{
  const block = document.getElementById("map-rows");
  const box = document.querySelector(".mapbox");
  const svg = box && box.querySelector("svg");
  if (block && svg) {
    const { kinds, rows } = JSON.parse(block.textContent);
    const points = [...svg.querySelectorAll(".points > *")];
    const places = rows.map((row) => row.slice(6));
    const [TEXT, OUTPUT, NEAREST, SCORE, TOPIC, KIND] = [0, 1, 2, 3, 4, 5];
    let chosen = -1;

    const ring = document.createElementNS(svg.namespaceURI, "circle");
    ring.setAttribute("class", "here");
    ring.setAttribute("r", 8);
    ring.setAttribute("visibility", "hidden");
    svg.append(ring);

    const panel = document.createElement("div");
    panel.className = "onerow";
    panel.setAttribute("aria-live", "polite");
    const part = (words, className, dir) => {
      const made = document.createElement(className.startsWith("text") ? "div" : "p");
      made.className = className;
      if (dir) made.dir = dir;
      made.textContent = words;
      panel.append(made);
    };

    const show = (number) => {
      chosen = number;
      const row = rows[number];
      const [x, y] = places[number];
      ring.setAttribute("cx", x);
      ring.setAttribute("cy", y);
      ring.setAttribute("visibility", "visible");
      panel.replaceChildren();
      const words = [`Row ${number + 1} of ${rows.length}`, kinds[row[KIND]], row[TOPIC]];
      part(words.filter(Boolean).join(" \u00b7 "), "label first");
      part(row[TEXT], "text", "auto");
      if (row[OUTPUT]) part("output", "label");
      if (row[OUTPUT]) part(row[OUTPUT], "text", "auto");
      if (row[NEAREST]) {
        part(`nearest row when it was decided on${row[SCORE] === null ? "" : `, ${row[SCORE].toFixed(3)}`}`, "label");
        part(row[NEAREST], "text quiet", "auto");
      }
    };

    const nearest = (x, y) => {
      let best = 0;
      let least = Infinity;
      places.forEach(([px, py], number) => {
        const away = (px - x) ** 2 + (py - y) ** 2;
        if (away <= least) [best, least] = [number, away];
      });
      return best;
    };

    const step = (dx, dy) => {
      const [x, y] = places[Math.max(chosen, 0)];
      let best = chosen;
      let least = Infinity;
      places.forEach(([px, py], number) => {
        const along = (px - x) * dx + (py - y) * dy;
        const aside = Math.abs((px - x) * dy) + Math.abs((py - y) * dx);
        const isAhead = along > 0 || (along === 0 && aside === 0 && number > chosen);
        if (number === chosen || !isAhead || aside > along) return;
        if (along + aside < least) [best, least] = [number, along + aside];
      });
      return best;
    };

    const tools = document.createElement("div");
    const label = document.createElement("label");
    const field = document.createElement("input");
    const said = document.createElement("output");
    tools.className = "tools";
    field.type = "search";
    label.append("Find rows ", field);
    tools.append(label);
    let hits = [];
    const turn = (by) => {
      const among = hits.length ? hits : rows.map((_, number) => number);
      const at = among.indexOf(chosen);
      show(among[(at < 0 && by < 0 ? among.length - 1 : at + by + among.length) % among.length]);
    };
    for (const [words, by] of [["Previous", -1], ["Next", 1]]) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = words;
      button.addEventListener("click", () => turn(by));
      tools.append(button);
    }
    tools.append(said);
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      const has = (row) => [TEXT, OUTPUT, TOPIC].some((at) => row[at].toLowerCase().includes(wanted));
      hits = [];
      rows.forEach((row, number) => {
        const isHit = wanted !== "" && has(row);
        if (isHit) hits.push(number);
        points[number].classList.toggle("hit", isHit);
      });
      svg.classList.toggle("finding", wanted !== "");
      said.textContent = wanted ? `${hits.length} of ${rows.length} rows` : "";
    });
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && hits.length) turn(event.shiftKey ? -1 : 1);
    });

    box.tabIndex = 0;
    box.setAttribute("role", "application");
    box.setAttribute("aria-label", "Map of the rows. Arrow keys choose the next row in that direction.");
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    box.addEventListener("keydown", (event) => {
      if (event.key in ways) show(chosen < 0 ? 0 : step(...ways[event.key]));
      else if (event.key === "Home") show(0);
      else if (event.key === "End") show(rows.length - 1);
      else return;
      event.preventDefault();
    });
    svg.addEventListener("click", (event) => {
      const area = svg.getBoundingClientRect();
      const { width, height } = svg.viewBox.baseVal;
      show(nearest(((event.clientX - area.left) / area.width) * width,
        ((event.clientY - area.top) / area.height) * height));
    });
    part("Click a point, or choose one with the arrow keys, to read its row.", "label first");
    box.before(tools);
    box.after(panel); /* in sight beside its point, above the legend */
  }
}
