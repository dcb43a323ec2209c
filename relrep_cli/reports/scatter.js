// Two spaces side by side: marking items in one marks them in both. Beside a cell of one space, another one is shown.
const SIDE = 1000;
const EDGE = 30;
const PALETTE = ["#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"];
const SHAPES = ["M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0z", "M0-9L8 6H-8z", "M-6.5-6.5h13v13h-13z"];
const LISTED = 20;
const SHADES = 99;
const marked = new Set();
const pair = { spaces: [], panels: [], other: -1 };

function showSpaces(grid, row, column) {
  const wanted = [...new Set([grid.rowSpaces[row], grid.columnSpaces[column]])].filter((place) => report.spaces[place]);
  const alone = wanted.length === 1 && report.spaces.length > 1;
  byId("beside").replaceChildren(...(alone ? [otherOf(wanted[0], () => showSpaces(grid, row, column))] : []));
  pair.spaces = (alone ? [wanted[0], pair.other] : wanted).map((place) => report.spaces[place]);
  byId("spaces").hidden = !pair.spaces.length;
  pair.panels = pair.spaces.map(panelOf);
  byId("panels").replaceChildren(...pair.panels.map((panel) => panel.figure));
  showLegend();
  showMarks();
}

function otherOf(own, onChange) {
  const places = report.spaces.map((_, place) => place).filter((place) => place !== own);
  if (!places.includes(pair.other)) [pair.other] = places;
  const names = places.map((place) => report.spaces[place].name);
  return choiceOf("Beside it", names, report.spaces[pair.other].name, (name) => {
    pair.other = places[names.indexOf(name)];
    onChange();
    byId("choice-Beside-it").focus();
  });
}

function panelOf(space) {
  const said = `${space.name}: ${space.items.length} items. ${space.note}`;
  const points = space.items.map((item, place) => {
    const [fillOf, shape] = lookOf(space, space.colours.length ? space.colours[place] : 0);
    return draw("path", { d: shape, fill: fillOf, transform: `translate(${at(space, place).join(" ")})` });
  });
  const frame = draw("rect", { class: "frame", x: 0, y: 0, width: SIDE + 2 * EDGE, height: SIDE + 2 * EDGE });
  const drawn = draw("svg", { viewBox: `0 0 ${SIDE + 2 * EDGE} ${SIDE + 2 * EDGE}`, role: "img", "aria-label": said, class: "cloud" },
    frame, draw("g", {}, ...points));
  const under = make("p", { class: "under" }, "\u00a0");
  const axes = space.axes.filter(Boolean).join(" across, ") + (space.axes[1] ? " up" : "");
  const figure = make("figure", { class: "panel" }, make("h3", {}, space.name), drawn,
    make("figcaption", {}, `${space.note}${axes ? `. ${axes}` : ""}`), under);
  listen(drawn, space, under);
  return { figure, points, space };
}

function lookOf(space, colour) {
  if (colour < 0) return ["#999", SHAPES[0]];
  if (space.span) return [`rgb(${colourOf(colour / SHADES).join(",")})`, SHAPES[0]];
  return [PALETTE[colour % PALETTE.length], SHAPES[Math.floor(colour / PALETTE.length) % SHAPES.length]];
}

function at(space, place) {
  return [space.points[2 * place] + EDGE, SIDE - space.points[2 * place + 1] + EDGE];
}

function placeOf(drawn, event) {
  const box = drawn.getBoundingClientRect();
  const scale = (SIDE + 2 * EDGE) / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function nearest(space, [x, y]) {
  let [best, found] = [25 ** 2, -1];
  space.items.forEach((_, place) => {
    const [px, py] = at(space, place);
    const apart = (px - x) ** 2 + (py - y) ** 2;
    if (apart < best) [best, found] = [apart, place];
  });
  return found;
}

function listen(drawn, space, under) {
  let from = null;
  let box = null;
  drawn.addEventListener("pointerdown", (event) => {
    from = placeOf(drawn, event);
    drawn.setPointerCapture(event.pointerId);
    event.preventDefault();
  });
  drawn.addEventListener("pointermove", (event) => {
    const to = placeOf(drawn, event);
    if (from) {
      if (!box) box = drawn.appendChild(draw("rect", { class: "box" }));
      fill(box, { x: Math.min(from[0], to[0]), y: Math.min(from[1], to[1]), width: Math.abs(to[0] - from[0]),
        height: Math.abs(to[1] - from[1]) }, []);
      return;
    }
    const place = nearest(space, to);
    under.textContent = place < 0 ? "\u00a0" : nameOf(space.items[place]);
  });
  drawn.addEventListener("pointerup", (event) => {
    const to = placeOf(drawn, event);
    if (box) box.remove();
    if (from) markWithin(space, from, to);
    from = box = null;
  });
}

function markWithin(space, from, to) {
  if (Math.hypot(to[0] - from[0], to[1] - from[1]) < 12) {
    const place = nearest(space, to);
    if (place >= 0) mark([space.items[place]], !marked.has(space.items[place]), true);
    return;
  }
  const [left, right] = [from[0], to[0]].sort((a, b) => a - b);
  const [top, bottom] = [from[1], to[1]].sort((a, b) => a - b);
  const inside = space.items.filter((_, place) => {
    const [x, y] = at(space, place);
    return x >= left && x <= right && y >= top && y <= bottom;
  });
  mark(inside, true);
}

function mark(items, on, more = false) {
  if (!more) marked.clear();
  for (const item of items) {
    if (on) marked.add(item);
    else marked.delete(item);
  }
  showMarks();
}

function classOf(item) {
  for (const space of pair.spaces) {
    const place = space.items.indexOf(item);
    if (place >= 0 && space.classes.length && space.colours[place] >= 0) return space.classes[space.colours[place]];
  }
  return "";
}

function nameOf(item) {
  const name = classOf(item);
  return name ? `${report.items[item]} (${name})` : report.items[item];
}

function showMarks() {
  for (const { points, space } of pair.panels) {
    points.forEach((point, place) => {
      const on = marked.has(space.items[place]);
      point.classList.toggle("on", on);
      point.classList.toggle("off", marked.size > 0 && !on);
      if (on) point.parentNode.append(point);
    });
  }
  const names = [...marked].slice(0, LISTED).map(nameOf);
  const more = marked.size > LISTED ? `, and ${marked.size - LISTED} more` : "";
  const clear = make("button", { type: "button", hidden: !marked.size }, "Clear");
  clear.addEventListener("click", () => mark([], false));
  const drawn = [...marked].filter((item) => pair.spaces.some((space) => space.items.includes(item))).length;
  const missing = marked.size > drawn ? ` ${marked.size - drawn} of them are not among the points drawn.` : "";
  byId("marked").replaceChildren(make("p", {}, marked.size ? `${marked.size} marked: ${names.join(", ")}${more}.${missing} ` : "No items are marked. ", clear));
}

function showLegend() {
  const space = pair.spaces.find((one) => one.classes.length);
  const buttons = (space ? space.classes : []).map((name, place) => {
    const [fillOf, shape] = lookOf(space, place);
    const path = draw("path", { d: shape, fill: fillOf });
    const sign = draw("svg", { viewBox: "-10 -10 20 20", class: "sign", "aria-hidden": "true" }, path);
    const button = make("button", { type: "button", class: "key" }, sign, name);
    button.addEventListener("click", () => mark(itemsOf(place), true));
    return button;
  });
  const shaded = pair.spaces.find((one) => one.span);
  const shades = shaded ? [make("p", { class: "scale" }, `label ${number(shaded.span[0])} `, barOf(1), ` ${number(shaded.span[1])}`)] : [];
  byId("legend").replaceChildren(...buttons, ...shades);
}

function itemsOf(colour) {
  return [...new Set(pair.spaces.flatMap((space) => space.items.filter((_, place) => space.colours[place] === colour)))];
}

function markClass(name) {
  const places = pair.spaces.map((space) => space.classes.indexOf(name));
  mark(pair.spaces.flatMap((space, which) => space.items.filter((_, place) => space.colours[place] === places[which])), true);
}

function showFind() {
  const box = make("input", { id: "find-text", type: "search", autocomplete: "off" });
  const form = byId("find");
  form.replaceChildren(make("label", { for: "find-text" }, "Find items whose id holds "), box, make("button", { type: "submit" }, "Mark"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = box.value.toLowerCase();
    const drawn = new Set(pair.spaces.flatMap((space) => space.items));
    mark(text ? [...drawn].filter((item) => report.items[item].toLowerCase().includes(text)) : [], true);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") mark([], false);
  });
}
