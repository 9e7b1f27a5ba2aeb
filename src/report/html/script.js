"use strict";
// Everything is readable without this script: it adds tabs, sorting and a read-out of the charts.
const all = (selector, from = document) => [...from.querySelectorAll(selector)];

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

for (const table of all("table.sortable")) {
  const body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  table.classList.add("sorts");
  all("th", table).forEach((head, column) => {
    head.tabIndex = 0;
    head.addEventListener("click", () => sort(table, body, head, column));
    head.addEventListener("keydown", (event) => { if (event.key === "Enter") sort(table, body, head, column); });
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

// An axis of a chart: from units of the drawing back to the value.
function axis(text, from, to) {
  const [scale, low, high, unit] = text.split(" ");
  const even = { linear: (v) => v, log: Math.log, log1p: Math.log1p }[scale];
  const back = { linear: (v) => v, log: Math.exp, log1p: Math.expm1 }[scale];
  const value = (place) => back(even(+low) + ((place - from) / (to - from)) * (even(+high) - even(+low)));
  const shown = { percent: (v) => (v * 100).toFixed(1) + " %", count: (v) => Math.round(v).toLocaleString("en"), number: (v) => String(+v.toPrecision(3)) }[unit];
  return (place) => shown(value(place));
}
for (const chart of all("svg.chart")) {
  const [left, top, right, bottom] = chart.dataset.plot.split(" ").map(Number);
  const x = axis(chart.dataset.x, left, right), y = axis(chart.dataset.y, bottom, top);
  const cursor = chart.querySelector(".cursor"), out = chart.parentNode.querySelector("output");
  const lines = all(".line", chart).map((line) => ({
    name: line.dataset.name,
    points: line.getAttribute("d").split(/[ML]/).slice(1).map((point) => point.split(" ").map(Number)),
  }));
  chart.addEventListener("pointermove", (event) => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(chart.getScreenCTM().inverse()).x;
    if (at < left - 8 || at > right + 8) return;
    const near = lines.filter((line) => line.points.length).map((line) => ({
      name: line.name,
      point: line.points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a)),
    }));
    if (!near.length) return;
    const place = near[0].point[0];
    cursor.classList.add("on");
    cursor.setAttribute("x1", place);
    cursor.setAttribute("x2", place);
    out.textContent = chart.dataset.of + " " + x(place) + ":  " + near.map((n) => n.name + " " + y(n.point[1]) + (Math.abs(n.point[0] - place) > 1 ? " (at " + x(n.point[0]) + ")" : "")).join(" · ");
  });
  chart.addEventListener("pointerleave", () => { cursor.classList.remove("on"); out.textContent = ""; });
}

// On paper everything is open.
addEventListener("beforeprint", () => { for (const part of all("details")) part.open = true; });
