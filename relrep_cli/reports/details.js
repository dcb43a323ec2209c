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
    make("h3", {}, `${grid.rows[row]} and ${grid.columns[column]}`),
    make("p", { class: "value" }, make("strong", {}, number(cell[2])), make("span", { class: "interval" }, interval)),
    histogramOf(cell, facts),
    make("dl", {}, ...lines),
    worstOf(cell),
  ].filter(Boolean));
}

function histogramOf(cell, facts) {
  const [low, high, ...counts] = cell[4];
  if (!counts.length) return null;
  const most = Math.max(...counts);
  const total = counts.reduce((sum, count) => sum + count, 0);
  const width = high > low ? high - low : 1;
  const across = (value) => 10 + ((value - low) / width) * (WIDE - 20);
  const inside = (value) => Math.min(WIDE - 4, Math.max(4, across(value)));
  const step = (WIDE - 20) / counts.length;
  const bars = counts.map((count, place) => draw("rect", { class: "row-bar", x: (10 + place * step).toFixed(1),
    y: (HIGH - 24 - (count / most) * (HIGH - 40)).toFixed(1), width: Math.max(1, step - 1).toFixed(1),
    height: ((count / most) * (HIGH - 40)).toFixed(1) }));
  const marks = [];
  if (typeof facts.low === "number") {
    marks.push(draw("rect", { class: "band", x: inside(facts.low).toFixed(1), y: 10,
      width: Math.max(1, inside(facts.high) - inside(facts.low)).toFixed(1), height: HIGH - 34 }));
  }
  if (typeof cell[2] === "number") marks.push(lineAt(inside(cell[2]), "mean"));
  if (typeof facts.chance === "number") marks.push(lineAt(inside(facts.chance), "chance"));
  const said = `Distribution of ${total} row values from ${number(low)} to ${number(high)}`;
  return make("figure", {}, draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, role: "img", "aria-label": said }, ...bars, ...marks,
    draw("text", { x: 10, y: HIGH - 8 }, number(low)), draw("text", { x: WIDE - 10, y: HIGH - 8, "text-anchor": "end" }, number(high))),
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
