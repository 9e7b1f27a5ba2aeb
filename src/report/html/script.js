"use strict";
// Everything but the explorer and the map is readable without this script: it adds tabs, sorting, a read-out of the charts and
// the figures behind everything as CSV.
const all = (selector, from = document) => [...from.querySelectorAll(selector)];
function make(name, properties = {}, ...inside) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...inside);
  return made;
}

const tasks = all(".task");
function show(id) {
  const shown = tasks.find((task) => task.id === id) || tasks[0];
  for (const task of tasks) task.hidden = task !== shown;
  for (const link of all("nav a:not(.to)")) {
    if (link.hash === "#" + shown.id) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}
if (tasks.length) {
  const follow = () => { if (!location.hash || location.hash.startsWith("#task-")) show(location.hash.slice(1)); };
  show(location.hash.slice(1));
  addEventListener("hashchange", follow);
}

function sorts(table) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) return;
  table.classList.add("sorts");
  all("th", table).forEach((head, column) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(table, body, head, column));
    head.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      sort(table, body, head, column);
    });
  });
}
function sort(table, body, head, column) {
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of all("th", table)) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => row.cells[column].dataset.sort;
  const compare = (a, b) => key(a) !== undefined && key(b) !== undefined
    ? key(a) - key(b)
    : row_text(a, column).localeCompare(row_text(b, column));
  body.append(...[...body.rows].sort((a, b) => (up ? compare(a, b) : compare(b, a))));
}
function row_text(row, column) { return row.cells[column].textContent; }

// A text that a spreadsheet would run as a formula gets an apostrophe. The rule is that of tables/*.csv, which
// src/report/csv/formula.rs states: it begins like one, has a letter or a digit, and is no number.
const BEGINS = /^[=+\-@\t\r\n＝＋－＠]/, SAYS = /[\p{Alphabetic}\p{N}]/u;
const NUMBER = /^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?$|^[+-]?(inf|infinity|nan)$/i;
const formula = (value) => BEGINS.test(value) && SAYS.test(value) && !NUMBER.test(value);

// CSV: a button that makes a file of rows, and the rows of a table with all their digits.
function offer(holder, title, rows) {
  const quoted = (value) => /[",\r\n]/.test(value) ? '"' + value.replaceAll('"', '""') + '"' : value;
  const button = make("button", { type: "button", className: "csv", textContent: "CSV", title: "the figures as a CSV file" });
  button.setAttribute("aria-label", "CSV of " + title);
  button.dataset.title = title;
  button.addEventListener("click", () => {
    const text = rows().map((row) => row.map((value) => quoted((formula(value ?? "") ? "'" : "") + (value ?? ""))).join(",") + "\r\n").join("");
    const href = URL.createObjectURL(new Blob([text], { type: "text/csv" }));
    make("a", { href, download: file_name(button) }).click();
    setTimeout(() => URL.revokeObjectURL(href), 60000);
  });
  holder.append(button);
}
// What the file of a button is called: the study and the title, of which long ones are cut. Where buttons would share a name,
// as those of tasks "a+b" and "a-b" would, all but the first have their number in it.
function file_name(button) {
  const plain = (text, most) => text.replace(/[^\p{L}\p{N}]+/gu, "-").slice(0, most).replace(/^-|-$/g, "");
  const study = plain(document.getElementById("study").textContent, 50);
  const name = (of) => [study, plain(of.dataset.title, 90)].filter(Boolean).join("-");
  const same = all("button.csv").filter((other) => name(other).toLowerCase() === name(button).toLowerCase());
  const place = same.indexOf(button);
  return name(button) + (place > 0 ? " (" + (place + 1) + ")" : "") + ".csv";
}
function table_rows(table) {
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hasAttribute("aria-hidden"));
  const heads = [...table.tHead.rows[0].cells];
  const more = (cell) => cell.dataset.more ? cell.dataset.more.split(" ") : [];
  const widths = heads.map((_, column) => Math.max(0, ...rows.map((row) => more(row.cells[column]).length)));
  const also = [[], [", in brackets"], [", low", ", high"]];
  const value = (cell, column) => {
    const chips = all(".chip", cell).map((chip) => chip.firstChild.data.trim() + " " + chip.dataset.exact);
    if (chips.length) return chips.join("; ");
    const text = cell.textContent.trim();
    return text === "–" ? "" : heads[column].classList.contains("n") && cell.dataset.sort !== undefined ? cell.dataset.sort : text;
  };
  const wide = (cells, values) => cells.flatMap((cell, column) => {
    const found = values(cell, column);
    return Array.from({ length: 1 + widths[column] }, (_, at) => found[at] ?? "");
  });
  return [
    wide(heads, (head, column) => ["", ...(also[widths[column]] ?? [])].map((part) => head.textContent + part)),
    ...rows.map((row) => wide([...row.cells], (cell, column) => [value(cell, column), ...more(cell)])),
  ];
}
// What a heading above it calls it, and the task that it is of. The heading of a figure, or of what can be folded, is of what
// is inside alone.
function title_of(element) {
  const before = all("h2, h3, h4, summary").filter((head) => {
    const around = head.closest("figure, details");
    return (!around || around.contains(element)) && head.compareDocumentPosition(element) & Node.DOCUMENT_POSITION_FOLLOWING;
  });
  const task = element.closest(".task")?.querySelector(".taskname").textContent;
  return [task, before.at(-1)?.textContent].filter(Boolean).join(" ");
}
for (const table of all("main table")) {
  if (table.classList.contains("sortable")) sorts(table);
  const scroll = table.parentNode, tall = scroll.closest(".tall") || scroll;
  if (table.tBodies[0].rows.length) offer(tall.parentNode.insertBefore(make("div", { className: "csvs" }), tall.nextSibling), title_of(table), () => table_rows(table));
}
for (const figure of all("figure[data-values]")) {
  const values = JSON.parse(figure.dataset.values), title = title_of(figure.lastElementChild);
  const holder = figure.appendChild(make("div", { className: "csvs" }));
  if (Array.isArray(values)) offer(holder, title, () => [values[0], ...values[1]]);
  if (values.lines) offer(holder, title, () => line_rows(values));
}
function line_rows(values) {
  const rows = values.lines.map(points).flatMap((line) => line.x.map((x, at) => [line.name, x, line.y[at], line.low?.[at], line.high?.[at]]));
  return [["line", values.x, values.y, "low", "high"], ...rows];
}
// A line as points: counts of samples are the sums of their steps.
function points(line) {
  if (!line.steps) return line;
  let sum = 0;
  const y = line.steps.map((step) => (sum += step) / line.draws / line.of);
  return { name: line.name, x: y.map((_, at) => at), y };
}

// An axis of a chart: from values to units of the drawing and back.
function axis(text, from, to) {
  const [scale, low, high, unit] = text.split(" ");
  const even = { linear: (v) => v, log: Math.log, log1p: Math.log1p }[scale];
  const place = (value) => from + ((even(value) - even(+low)) / (even(+high) - even(+low))) * (to - from);
  const plain = { percent: (v) => (v * 100).toFixed(1) + " %", count: (v) => Math.round(v).toLocaleString("en"), number: (v) => String(+v.toPrecision(3)) }[unit];
  return { place, shown: (value) => plain(value).replace(/^-/, "−") };
}
for (const chart of all("svg.chart")) {
  const [left, top, right, bottom] = chart.dataset.plot.split(" ").map(Number);
  const x = axis(chart.dataset.x, left, right), y = axis(chart.dataset.y, bottom, top);
  const cursor = chart.querySelector(".cursor"), out = chart.parentNode.querySelector("output");
  const lines = JSON.parse(chart.parentNode.dataset.values).lines.map(points).filter((line) => line.x.length);
  if (!lines.length) continue;
  const places = lines.map((line) => line.x.map(x.place));
  const nearest = (places, to) => places.reduce((best, place, at) => (Math.abs(place - to) < Math.abs(places[best] - to) ? at : best), 0);
  let at = -1;
  const tell = (to) => {
    at = nearest(places[0], to);
    const value = lines[0].x[at], place = places[0][at];
    // A value that holds up to the next point is the one at the cursor; of others the nearest is told, and where it is.
    const last = (of) => Math.max(0, of.findLastIndex((other) => other <= place + 1e-6));
    const near = places.map((of, n) => (n === 0 ? at : lines[n].held ? last(of) : nearest(of, to)));
    const far = (n) => !lines[n].held && Math.abs(places[n][near[n]] - place) > 1;
    cursor.classList.add("on");
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    out.textContent = chart.dataset.of + " " + x.shown(value) + ":  " + lines.map((line, n) => line.name + " " + y.shown(line.y[near[n]]) + (far(n) ? " (at " + x.shown(line.x[near[n]]) + ")" : "")).join(" · ");
  };
  const leave = () => { cursor.classList.remove("on"); out.textContent = ""; };
  chart.addEventListener("pointermove", (event) => {
    const to = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse()).x;
    if (to >= left - 8 && to <= right + 8) tell(to);
  });
  chart.addEventListener("pointerleave", leave);
  chart.tabIndex = 0;
  chart.addEventListener("blur", leave);
  chart.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    tell(places[0][Math.min(Math.max(at + step, 0), places[0].length - 1)]);
  });
}

// On paper everything is open.
addEventListener("beforeprint", () => { for (const part of all("details")) part.open = true; });
