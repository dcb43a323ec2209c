// What is behind the chosen cell: the value with its interval, the distribution of its rows, and the items that agree least.
const WIDE = 420;
const HIGH = 150;
const KNOWN = ["low", "high"];

function showDetails(grid, row, column, cell) {
  const facts = factsOf(cell, grid);
  const interval = facts.low === null || facts.low === undefined ? "" : ` [${number(facts.low)}, ${number(facts.high)}]`;
  const names = grid.keys.filter((key) => !KNOWN.includes(key) && facts[key] !== null);
  const lines = names.flatMap((key) => [make("dt", {}, key.replaceAll("_", " ")), make("dd", {}, number(facts[key]))]);
  if (grid.convention) lines.push(make("dt", {}, "convention"), make("dd", {}, grid.convention));
  byId("details").replaceChildren(...[
    make("h3", {}, headingOf(grid, row, column)),
    make("p", { class: "value" }, make("strong", {}, number(cell[2])), make("span", { class: "interval" }, interval)),
    histogramOf(cell, facts),
    make("dl", {}, ...lines),
    worstOf(cell),
  ].filter(Boolean));
}

function headingOf(grid, row, column) {
  const [first, second] = grid.titles;
  if (first === second) return `${grid.rows[row]} and ${grid.columns[column]}`;
  return `${first} ${grid.rows[row]}, ${second} ${grid.columns[column]}`;
}

function histogramOf(cell, facts) {
  const [low, high, ...counts] = cell[4];
  if (!counts.length) return null;
  const most = Math.max(...counts);
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (low === high) return make("p", { class: "hint" }, `All ${total} row values are ${number(low)}.`);
  const known = [low, high, cell[2], facts.low, facts.high, facts.chance].filter((value) => typeof value === "number");
  const [from, to] = [Math.min(...known), Math.max(...known)];
  const across = (value) => 10 + ((value - from) / (to - from)) * (WIDE - 20);
  const step = (across(high) - across(low)) / counts.length;
  const bars = counts.map((count, place) => draw("rect", { class: "row-bar", x: (across(low) + place * step).toFixed(1),
    y: (HIGH - 24 - (count / most) * (HIGH - 40)).toFixed(1), width: Math.max(1, step - 1).toFixed(1),
    height: ((count / most) * (HIGH - 40)).toFixed(1) }));
  const marks = [];
  if (typeof facts.low === "number") {
    marks.push(draw("rect", { class: "band", x: across(facts.low).toFixed(1), y: 10,
      width: Math.max(1, across(facts.high) - across(facts.low)).toFixed(1), height: HIGH - 34 }));
  }
  if (typeof cell[2] === "number") marks.push(lineAt(across(cell[2]), "mean"));
  if (typeof facts.chance === "number") marks.push(lineAt(across(facts.chance), "chance"));
  const said = `Distribution of ${total} row values from ${number(low)} to ${number(high)}`;
  return make("figure", {}, draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": said }, ...bars, ...marks,
    draw("text", { x: 10, y: HIGH - 8 }, number(from)), draw("text", { x: WIDE - 10, y: HIGH - 8, "text-anchor": "end" }, number(to))),
  make("figcaption", {}, `${said}. Solid line: mean; band: its 95 % interval; dashed line: chance.`));
}

function lineAt(x, kind) {
  return draw("line", { class: kind, x1: x.toFixed(1), x2: x.toFixed(1), y1: 10, y2: HIGH - 24 });
}

function worstOf(cell) {
  const worst = cell[5];
  if (!worst.length) return null;
  const rows = worst.map(([item, value]) => {
    const button = make("button", { type: "button", class: "link" }, report.items[item]);
    button.addEventListener("click", () => mark([item], true));
    return make("tr", {}, make("td", {}, button), make("td", { class: "figure" }, number(value)));
  });
  return make("table", { class: "plain" }, make("caption", {}, "Items that agree least"),
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, "id"), make("th", { scope: "col" }, "value"))),
    make("tbody", {}, ...rows));
}
