// Tables: all results, sorted by a click on a column, and the files that they come from.
const MOST = 2000; // lines of the table of results

function tableOf(columns, rows, sortable) {
  const body = make("tbody", {});
  const numeric = columns.map((_, place) => rows.every((row) => row[place] === null || typeof row[place] === "number"));
  const show = (order) => body.replaceChildren(...order.map((row) => make("tr", {}, ...row.map((value, place) =>
    make("td", numeric[place] ? { class: "figure" } : {}, value === null ? "" : number(value))))));
  const heads = columns.map((name, place) => {
    const said = name.replaceAll("_", " ");
    const head = make("th", { scope: "col", class: numeric[place] ? "figure" : null });
    if (!sortable) return fill(head, {}, [said]);
    const button = make("button", { type: "button", class: "link" }, said);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      show([...rows].sort((a, b) => (down ? compared(b[place], a[place]) : compared(a[place], b[place]))));
    });
    return fill(head, {}, [button]);
  });
  show(rows);
  return make("table", { class: "plain" }, make("thead", {}, make("tr", {}, ...heads)), body);
}

function recordsOf(grid) {
  const [first, second] = grid.titles[0] === grid.titles[1] ? ["a", "b"] : grid.titles;
  const { shown: _, ...choices } = grid.choices;
  return grid.cells.map((cell) => ({ [first]: grid.rows[cell[0]], [second]: grid.columns[cell[1]], ...choices, [grid.valueFact]: cell[2],
    ...factsOf(cell, grid) }));
}

function compared(a, b) {
  if (a === b) return 0;
  if (a === null || b === null) return a === null ? -1 : 1;
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function showTables() {
  const records = report.grids.filter((grid) => !grid.derived).flatMap(recordsOf);
  const named = [...new Set(records.flatMap((record) => Object.keys(record)))];
  const kept = named.filter((name) => records.some((record) => record[name] !== null && record[name] !== undefined));
  const lines = records.slice(0, MOST).map((record) => kept.map((name) => record[name] ?? null));
  const left = records.length - lines.length;
  const more = left ? make("p", {}, `${left} more results are not in this table; the heat map shows them all.`) : null;
  byId("table").replaceChildren(...[tableOf(kept, lines, true), more].filter(Boolean));
  const columns = [...new Set(report.files.flatMap((facts) => Object.keys(facts)))];
  const rows = report.files.map((facts) => columns.map((column) => facts[column] ?? null));
  byId("files").replaceChildren(tableOf(columns, rows, false));
}
