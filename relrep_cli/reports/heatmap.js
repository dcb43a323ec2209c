// The heat map: a table whose cells are chosen with the mouse or the keyboard.
const shown = { grid: report.grids[0] || null, row: -1, column: -1 };
const NAMED = 24; // rows or columns up to which the value stands in the cell
const MARKED = 0.05; // q (or p) below which a cell has a star

function factsOf(cell, grid) {
  return { ...Object.fromEntries(grid.keys.map((key, place) => [key, cell[3][place]])), ...grid.same };
}

function placesOf(grid) {
  if (grid.places) return grid.places;
  grid.places = new Map();
  for (const cell of grid.cells) {
    grid.places.set(`${cell[0]} ${cell[1]}`, cell);
    const across = `${cell[1]} ${cell[0]}`;
    if (grid.mirrored && !grid.places.has(across)) grid.places.set(across, cell);
  }
  return grid.places;
}

function isMarked(cell, grid) {
  const facts = factsOf(cell, grid);
  const level = facts.q ?? facts.p;
  return typeof level === "number" && level < MARKED;
}

function ends(grid, row) {
  if (grid.span) return grid.span;
  const values = grid.cells.filter((cell) => cell[0] === row && cell[2] !== null).map((cell) => cell[2]);
  const [low, high] = [Math.min(0, ...values), Math.max(0, ...values)];
  return low < 0 ? [low, high] : [0, Math.max(1, high)];
}

function shareOf(value, [low, high], grid) {
  const share = high > low ? (value - low) / (high - low) : 0.5;
  return grid.closer === "higher" ? share : 1 - share;
}

function showGrid(grid) {
  const before = shown.row < 0 ? null : [shown.grid.rows[shown.row], shown.grid.columns[shown.column]];
  shown.grid = grid;
  shown.row = shown.column = -1;
  const few = Math.max(grid.rows.length, grid.columns.length) <= NAMED;
  const head = make("tr", {}, make("td", { class: "corner" }), ...grid.columns.map((name, column) =>
    make("th", { scope: "col", class: "across", title: name }, make("span", {}, name))));
  const body = grid.rows.map((name, row) => rowOf(grid, name, row, few));
  const sides = grid.titles[0] === grid.titles[1] ? "" : `${grid.titles[0]} down, ${grid.titles[1]} across`;
  const label = `Heat map of ${Object.values(grid.choices).join(", ")}. ${sides}`;
  const table = make("table", { role: "grid", "aria-label": label, class: few ? "cells" : "cells many" },
    make("caption", {}, sides), make("thead", {}, head), make("tbody", {}, ...body));
  table.addEventListener("click", (event) => chooseCell(event.target.closest("[data-row]")));
  table.addEventListener("keydown", moveByKey);
  byId("heatmap").replaceChildren(make("div", { class: "wide" }, table), ...[scaleOf(grid), conventionOf(grid), closestOf(grid)].filter(Boolean));
  byId("details").replaceChildren(make("p", {}, "No cell is chosen."));
  chooseCell(cellToShow(table, grid, before));
}

// The cell that was chosen in the map before; else the first one of two different names; else the first one.
function cellToShow(table, grid, before) {
  const cells = [...table.querySelectorAll("[data-row]")];
  const names = (made) => [grid.rows[made.dataset.row], grid.columns[made.dataset.column]];
  const same = before && cells.find((made) => names(made).every((name, side) => name === before[side]));
  return same || cells.find((made) => names(made)[0] !== names(made)[1]) || cells[0];
}

function rowOf(grid, name, row, few) {
  const range = ends(grid, row);
  const cells = grid.columns.map((other, column) => {
    const cell = placesOf(grid).get(`${row} ${column}`);
    if (!cell) {
      const own = grid.rows[row] === other && grid.own !== null;
      return make("td", { class: "none", role: "gridcell", title: own ? "the space itself" : "not measured" }, own && few ? brief(grid.own) : "");
    }
    const star = isMarked(cell, grid) ? "*" : "";
    const said = `${name}, ${other}: ${cell[2] === null ? "no value" : number(cell[2])}${star ? ", q below 0.05" : ""}`;
    const made = make("td", { role: "gridcell", tabindex: -1, "data-row": row, "data-column": column, "aria-label": said,
      "aria-selected": "false", title: said }, few ? brief(cell[2]) + star : star);
    if (cell[2] === null) made.classList.add("missing");
    else paint(made, shareOf(cell[2], range, grid));
    return made;
  });
  return make("tr", {}, make("th", { scope: "row", title: name }, name), ...cells);
}

function scaleOf(grid) {
  const better = grid.closer === "higher" ? "higher is better" : "lower is better";
  if (!grid.span) return make("p", { class: "scale" }, "In each row, dark is 0 or its lowest negative value, and bright is 1 or its highest value above 1.");
  const marked = grid.cells.some((cell) => isMarked(cell, grid)) ? "; * q < 0.05" : "";
  return make("p", { class: "scale" }, `${number(grid.span[0])} `, barOf(grid.closer === "higher"),
    ` ${number(grid.span[1])} (${better}${marked})`);
}

function conventionOf(grid) {
  return grid.convention ? make("p", { class: "hint" }, `Convention: ${grid.convention}`) : null;
}

// The closest column of each row, such as the layer of one network that is most like each layer of another.
function closestOf(grid) {
  if (!grid.closest) return null;
  const sign = grid.closer === "higher" ? 1 : -1;
  const best = grid.rows.map((name, row) => {
    const cells = grid.columns.map((_, column) => placesOf(grid).get(`${row} ${column}`)).filter((cell) => cell && cell[2] !== null);
    if (!cells.length) return "";
    const top = cells.reduce((one, other) => (sign * other[2] > sign * one[2] ? other : one));
    const column = top[0] === row ? top[1] : top[0];
    return `${name} with ${grid.columns[column]} ${number(top[2])}`;
  }).filter(Boolean);
  return best.length ? make("p", { class: "hint" }, `Closest column of each row: ${best.join(", ")}`) : null;
}

function chooseCell(made) {
  if (!made) return;
  const [row, column] = [Number(made.dataset.row), Number(made.dataset.column)];
  const table = made.closest("table");
  for (const other of table.querySelectorAll('[aria-selected="true"]')) other.setAttribute("aria-selected", "false");
  for (const other of table.querySelectorAll('[tabindex="0"]')) other.tabIndex = -1;
  made.setAttribute("aria-selected", "true");
  made.tabIndex = 0;
  shown.row = row;
  shown.column = column;
  showDetails(shown.grid, row, column, placesOf(shown.grid).get(`${row} ${column}`));
  showSpaces(shown.grid, row, column);
}

function moveByKey(event) {
  const from = event.target.closest("[data-row]");
  if (!from) return;
  if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    chooseCell(from);
    return;
  }
  const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -1e6], End: [0, 1e6] };
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault();
  const to = nextCell(from.closest("table"), Number(from.dataset.row), Number(from.dataset.column), step);
  if (!to) return;
  from.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

function nextCell(table, row, column, [down, right]) {
  const at = (r, c) => table.querySelector(`[data-row="${r}"][data-column="${c}"]`);
  if (Math.abs(right) > 1) {
    const line = table.querySelectorAll(`[data-row="${row}"]`);
    return line[right < 0 ? 0 : line.length - 1];
  }
  const most = Math.max(shown.grid.rows.length, shown.grid.columns.length);
  for (let step = 1; step <= most; step += 1) { // over the diagonal and over pairs that were not measured
    const found = at(row + step * down, column + step * right);
    if (found) return found;
  }
  return null;
}

function showChoices() {
  const names = [...new Set(report.grids.flatMap((grid) => Object.keys(grid.choices)))];
  const lists = names.map((name) => {
    const values = [...new Set(report.grids.map((grid) => grid.choices[name]).filter((value) => value !== undefined))];
    return values.length < 2 ? null : choiceOf(name, values, shown.grid.choices[name], (value) =>
      changeGrid({ ...shown.grid.choices, [name]: value }, name));
  });
  const alone = names.filter((_, place) => !lists[place]).map((name) => `${name}: ${shown.grid.choices[name]}`);
  const menus = lists.filter(Boolean);
  const all = names.map((name) => `${name}: ${shown.grid.choices[name]}`).join("; ");
  byId("choices").replaceChildren(...menus, make("p", { class: "said" }, alone.join("; ")), make("p", { class: "printed" }, all));
}

// Shows the map that fits the most of these choices, among those of the first one.
function changeGrid(wanted, focus) {
  const fits = (grid) => Object.entries(wanted).filter(([key, one]) => grid.choices[key] === one).length;
  const able = report.grids.filter((grid) => !focus || grid.choices[focus] === wanted[focus]);
  showGrid(able.reduce((best, grid) => (fits(grid) > fits(best) ? grid : best), able[0]));
  showChoices();
  if (focus) byId(`choice-${focus.replace(/\W/g, "-")}`)?.focus();
}
