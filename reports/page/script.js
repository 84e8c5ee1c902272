"use strict";
// The switch between light and dark, and the details of a run: unpacked when they are opened, always set as text.

const root = document.documentElement;
document.getElementById("theme").addEventListener("click", () => {
  const dark = root.dataset.theme !== "dark";
  root.dataset.theme = dark ? "dark" : "light";
  root.classList.toggle("dark", dark);
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* a page from disk may not remember */ }
});

const where = JSON.parse(document.getElementById("where").textContent);
const packed = document.querySelectorAll("script.group");
const unpacked = new Map();

async function unpack(group) {
  if (!unpacked.has(group)) {
    const bytes = Uint8Array.from(atob(packed[group].textContent.trim()), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    unpacked.set(group, JSON.parse(await new Response(stream).text()));
  }
  return unpacked.get(group);
}

function element(name, text, parent) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (parent) parent.append(made);
  return made;
}

function show(value) {
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

function list(title, values, parent) {
  const entries = Object.entries(values || {});
  if (!entries.length) return;
  element("h3", title, parent);
  const terms = element("dl", undefined, parent);
  for (const [name, value] of entries) {
    element("dt", name, terms);
    element("dd", show(value), terms);
  }
}

function samples(rounds, parent) {
  element("h3", "Samples by round", parent);
  if (!rounds) {
    element("p", "Not on this page; they stand in record.json of this cell.", parent);
    return;
  }
  if (!rounds.length) {
    const text = "The record holds none: images are drawn from the saved policies, in the figure of samples of this task.";
    element("p", text, parent);
    return;
  }
  const grid = element("div", undefined, parent);
  grid.className = "samples";
  for (const [round, nre, texts] of rounds) {
    const box = element("div", undefined, grid);
    element("h4", `${round ? "round " + round : "prior"}, ${nre.toLocaleString("en")} NRE`, box);
    for (const text of texts) element("pre", text, box);
  }
}

const SVG = "http://www.w3.org/2000/svg";
function draw(name, attributes, parent, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  parent.append(made);
}

// Success rate on a logarithmic axis against evaluations, with the interval of every point.
function curve(run, parent) {
  const wide = Math.max(300, Math.min(640, parent.clientWidth));
  const [tall, left, bottom] = [0.3 * wide + 70, 48, 40];
  const shown = [...run.r, ...(run.l || []), ...(run.h || [])].filter((rate) => rate > 0);
  if (!shown.length) {
    element("p", "No success rate was measured.", parent);
    return;
  }
  const low = Math.floor(Math.log10(Math.min(...shown)));
  const high = Math.max(low + 1, Math.ceil(Math.log10(Math.max(...shown))));
  const last = Math.max(1, ...run.n);
  const x = (nre, i) => left + (wide - left - 12) * (last > 1 ? nre / last : i / Math.max(1, run.n.length - 1));
  const y = (rate) => 8 + (tall - bottom - 8) * (high - Math.max(low, Math.log10(rate))) / (high - low);
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${wide} ${tall}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `success rate from ${run.r[0]} to ${run.r[run.r.length - 1]}`);
  parent.append(svg);
  const label = { fill: "currentColor", "font-size": 12 };
  const step = Math.ceil((high - low) / 8);
  for (let power = low; power <= high; power += step) {
    const at = y(10 ** power);
    draw("line", { x1: left, x2: wide - 12, y1: at, y2: at, stroke: "currentColor", "stroke-opacity": 0.15 }, svg);
    draw("text", { ...label, x: left - 8, y: at + 4, "text-anchor": "end" }, svg, power ? `1e${power}` : "1");
  }
  const foot = last > 1 ? `reward evaluations, 0 to ${last.toLocaleString("en")}` : "rounds (no evaluation is charged)";
  draw("text", { ...label, x: (left + wide) / 2, y: tall - 8, "text-anchor": "middle" }, svg, foot);
  run.n.forEach((nre, i) => {
    if (run.h && run.h[i] > 0) {
      const ends = { x1: x(nre, i), x2: x(nre, i), y1: y(run.l[i] || 10 ** low), y2: y(run.h[i]) };
      draw("line", { ...ends, stroke: "currentColor", "stroke-opacity": 0.45 }, svg);
    }
    if (run.r[i] > 0) draw("circle", { cx: x(nre, i), cy: y(run.r[i]), r: 3, fill: "#D55E00" }, svg);
  });
  const path = run.n.map((nre, i) => (run.r[i] > 0 ? `${x(nre, i)},${y(run.r[i])}` : "")).filter(Boolean).join(" ");
  draw("polyline", { points: path, fill: "none", stroke: "#D55E00", "stroke-width": 2 }, svg);
}

async function open(place) {
  const body = document.getElementById("details-body");
  body.replaceChildren();
  document.getElementById("details").showModal();
  if (where[place] < 0) {
    document.getElementById("details-title").textContent = "Left out of this page";
    element("p", "To keep the page small this run's details are only in the folder of records.", body);
    return;
  }
  const run = (await unpack(where[place]))[place];
  document.getElementById("details-title").textContent = run.t;
  curve(run, body);
  samples(run.s, body);
  list("Method's configuration", run.c, body);
  list("Task's configuration", run.k, body);
  list("Ledger, cost and provenance", run.f, body);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button.open");
  if (button) open(Number(button.dataset.run));
});
