"use strict";
// What all parts of the page share: the data, elements, numbers and colours. Text from files goes into text nodes and
// attributes only, never into mark-up.
const report = JSON.parse(document.getElementById("data").textContent);
for (const space of report.spaces) {
  space.items = report.lists[space.items];
  space.colours = report.lists[space.colours];
}
let base = null; // derived maps hold the cells of the map before them, with another of their facts as the value
for (const grid of report.grids) {
  if (grid.cells) {
    base = grid;
    continue;
  }
  const key = grid.valueFact;
  const at = base.keys.indexOf(key);
  Object.assign(grid, { derived: true, same: { ...base.same }, keys: base.keys.map((name) => (name === key ? base.valueFact : name)) });
  delete grid.same[key];
  if (at < 0) grid.keys.push(base.valueFact);
  grid.cells = base.cells.map(([row, column, value, facts, ...more]) => {
    const own = at < 0 ? [...facts, value] : [...facts.slice(0, at), value, ...facts.slice(at + 1)];
    return [row, column, at < 0 ? base.same[key] : facts[at], own, ...more];
  });
}
const SVG = "http://www.w3.org/2000/svg";
const CIVIDIS = [
  "00224e", "002e6a", "1a386f", "32436d", "434e6c", "535a6d", "61656f", "6f7073", "7d7c78", "8c8878", "9b9476", "aba072",
  "bcae6c", "cdbb63", "dec958", "f0d846", "fee838",
].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

function byId(id) {
  return document.getElementById(id);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function number(value) {
  if (value === null || value === undefined) return "n/a";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e6 ? value.toFixed(4) : value.toExponential(2);
}

function brief(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  if (size >= 1000) return value.toExponential(1);
  if (size >= 10 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(size >= 0.9995 || value < 0 ? 2 : 3).replace("0.", ".");
}

function colourOf(share) {
  const place = Math.min(1, Math.max(0, share)) * (CIVIDIS.length - 1);
  const low = Math.min(CIVIDIS.length - 2, Math.floor(place));
  return CIVIDIS[low].map((part, i) => Math.round(part + (place - low) * (CIVIDIS[low + 1][i] - part)));
}

function paint(element, share) {
  const [red, green, blue] = colourOf(share);
  const light = (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255 > 0.45;
  element.style.backgroundColor = `rgb(${red}, ${green}, ${blue})`;
  element.style.color = light ? "#000" : "#fff";
}

function barOf(upwards) {
  const steps = Array.from({ length: 24 }, (_, step) => {
    const part = make("i", {});
    paint(part, upwards ? step / 23 : 1 - step / 23);
    return part;
  });
  return make("span", { class: "bar", "aria-hidden": "true" }, ...steps);
}

function choiceOf(label, values, chosen, onChange) {
  const id = `choice-${label.replace(/\W/g, "-")}`;
  const select = make("select", { id }, ...values.map((value) => make("option", { value, selected: value === chosen }, value)));
  select.addEventListener("change", () => onChange(select.value));
  return make("span", { class: "choice" }, make("label", { for: id }, `${label} `), select);
}
