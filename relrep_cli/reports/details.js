// What is behind the chosen cell: the value with its interval, the values of its items and classes, the worst items, a ROC
// curve, and the same cell in the other maps.
const WIDE = 420;
const HIGH = 150;

function showDetails(grid, row, column, cell) {
  const facts = factsOf(cell, grid);
  const ends = grid.ends.map((name) => facts[name]).filter((end) => typeof end === "number");
  const interval = ends.length ? ` [${ends.map(number).join(", ")}]` : "";
  const names = Object.keys(facts).filter((key) => !grid.ends.includes(key) && facts[key] !== null);
  const lines = names.flatMap((key) => [make("dt", {}, key.replaceAll("_", " ")), make("dd", {}, number(facts[key]))]);
  if (grid.convention) lines.push(make("dt", {}, "convention"), make("dd", {}, grid.convention));
  byId("details").replaceChildren(...[
    make("h3", {}, headingOf(grid, row, column)),
    make("p", { class: "value" }, make("strong", {}, number(cell[2])), make("span", { class: "interval" }, interval)),
    histogramOf(cell, ends, grid.ends.length ? [cell[2], facts.chance] : []),
    curveOf(grid, cell),
    make("dl", {}, ...lines),
    elsewhereOf(grid, row, column),
    classesOf(cell),
    worstOf(cell, grid),
  ].filter(Boolean));
}

function headingOf(grid, row, column) {
  const [first, second] = grid.titles;
  if (first === second) return `${grid.rows[row]} and ${grid.columns[column]}`;
  return `${first} ${grid.rows[row]}, ${second} ${grid.columns[column]}`;
}

// ends: of the interval. lines: the value and the chance level; nothing where the row values are those of another measure.
function histogramOf(cell, ends, lines) {
  const [low, high, ...counts] = cell[4] || [];
  if (!counts.length) return null;
  const most = Math.max(...counts);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (low === high) return make("p", { class: "hint" }, `All ${total} row values are ${number(low)}.`);
  const isNumber = (one) => typeof one === "number";
  const known = [low, high, ...ends, ...lines.filter(isNumber)];
  const [from, to] = [Math.min(...known), Math.max(...known)];
  const across = (value) => 10 + ((value - from) / (to - from)) * (WIDE - 20);
  const step = (across(high) - across(low)) / counts.length;
  const bars = counts.map((count, place) => draw("rect", { class: "row-bar", x: (across(low) + place * step).toFixed(1),
    y: (HIGH - 24 - (count / most) * (HIGH - 40)).toFixed(1), width: Math.max(1, step - 1).toFixed(1),
    height: ((count / most) * (HIGH - 40)).toFixed(1) }));
  const band = ends.length ? [draw("rect", { class: "band", x: across(ends[0]).toFixed(1), y: 10,
    width: Math.max(1, across(ends[1]) - across(ends[0])).toFixed(1), height: HIGH - 34 })] : [];
  const marks = lines.flatMap((value, place) => (isNumber(value) ? [lineAt(across(value), ["mean", "chance"][place])] : []));
  const said = `Distribution of ${total} row values from ${number(low)} to ${number(high)}`;
  const key = [isNumber(lines[0]) && "solid line: value", ends.length && "band: its 95 % interval",
    isNumber(lines[1]) && "dashed line: chance"].filter(Boolean).join("; ");
  return make("figure", {}, draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": said }, ...bars, ...band, ...marks,
    draw("text", { x: 10, y: HIGH - 8 }, number(from)), draw("text", { x: WIDE - 10, y: HIGH - 8, "text-anchor": "end" }, number(to))),
  make("figcaption", {}, [said, key].filter(Boolean).join("; ")));
}

function lineAt(x, kind) {
  return draw("line", { class: kind, x1: x.toFixed(1), x2: x.toFixed(1), y1: 10, y2: HIGH - 24 });
}

function curveOf(grid, cell) {
  const own = cell[8];
  if (!own) return null;
  const side = 260;
  const path = (points) => points.map(([x, y], place) =>
    `${place ? "L" : "M"}${(30 + x * side).toFixed(1)} ${(10 + (1 - y) * side).toFixed(1)}`).join("");
  const others = grid.cells.filter((one) => one !== cell && one[0] === cell[0] && one[8]);
  const drawn = others.map((one) => draw("path", { class: "roc other", d: path(one[8]) }, draw("title", {}, grid.columns[one[1]])));
  const said = `ROC curve of ${grid.columns[cell[1]]}`;
  return make("figure", {}, draw("svg", { viewBox: `0 0 ${side + 50} ${side + 36}`, role: "img", "aria-label": said, class: "curve" },
    draw("rect", { class: "frame", x: 30, y: 10, width: side, height: side }),
    draw("path", { class: "chance", d: path([[0, 0], [1, 1]]) }), ...drawn, draw("path", { class: "roc", d: path(own) }),
    draw("text", { x: 30, y: side + 28 }, "0"), draw("text", { x: side + 24, y: side + 28 }, "1"),
    draw("text", { x: 30 + side / 2, y: side + 28, "text-anchor": "middle" }, "false positive rate"),
    draw("text", { x: 12, y: side + 10 }, "0"), draw("text", { x: 12, y: 20 }, "1"),
    draw("text", { x: 18, y: 10 + side / 2, "text-anchor": "middle", transform: `rotate(-90 18 ${10 + side / 2})` }, "true positive rate")),
  make("figcaption", {}, `${said}${others.length ? "; thin lines: the other files" : ""}; dashed line: chance.`));
}

// The same cell in the maps of other metrics, spaces or methods; a click leads there.
function elsewhereOf(grid, row, column) {
  const same = (other) => other.rows[row] === grid.rows[row] && other.columns[column] === grid.columns[column];
  const others = report.grids.filter((other) => other.choices.shown === grid.choices.shown && same(other));
  const names = Object.keys(grid.choices).filter((name) => name !== "shown" && new Set(others.map((one) => one.choices[name])).size > 1);
  const rows = others.map((other) => [other, placesOf(other).get(`${row} ${column}`)]).filter(([, cell]) => cell);
  if (rows.length < 2) return null;
  const lines = rows.map(([other, cell]) => {
    const button = make("button", { type: "button", class: "link" }, names.map((name) => other.choices[name]).join(", "));
    button.addEventListener("click", () => changeGrid(other.choices));
    return make("tr", { class: other === grid ? "here" : null }, make("td", {}, button), make("td", { class: "figure" }, number(cell[2])));
  });
  return tableIn(`By ${names.join(" and ")}`, [names.join(", "), grid.choices.shown || "value"], lines);
}

function classesOf(cell) {
  const classes = cell[6] || [];
  if (!classes.length) return null;
  const taken = classes.some((one) => one.length > 3);
  const rows = classes.map(([name, value, count, other]) => {
    const text = report.items[name];
    const button = make("button", { type: "button", class: "link" }, text);
    button.addEventListener("click", () => markClass(text));
    return make("tr", {}, make("td", {}, button), make("td", { class: "figure" }, number(value)),
      make("td", { class: "figure" }, String(count)), taken ? make("td", {}, other === undefined ? "" : report.items[other]) : null);
  });
  const more = cell[7] ? `; ${cell[7]} further classes have better values` : "";
  return tableIn(`Classes, worst first${more}`, ["class", "value", "n", ...(taken ? ["most often taken for"] : [])], rows);
}

function worstOf(cell, grid) {
  const worst = cell[5] || [];
  if (!worst.length) return null;
  const noted = worst.some((one) => one.length > 2);
  const rows = worst.map(([item, value, note]) => {
    const button = make("button", { type: "button", class: "link" }, report.items[item]);
    button.addEventListener("click", () => mark([item], true));
    return make("tr", {}, make("td", {}, button), make("td", { class: "figure" }, number(value)),
      noted ? make("td", {}, note === undefined ? "" : report.items[note]) : null);
  });
  return tableIn(grid.worstTitle, ["id", "value", ...(noted ? ["class"] : [])], rows);
}

function tableIn(title, columns, rows) {
  return make("table", { class: "plain" }, make("caption", {}, title),
    make("thead", {}, make("tr", {}, ...columns.map((name) => make("th", { scope: "col" }, name)))), make("tbody", {}, ...rows));
}
