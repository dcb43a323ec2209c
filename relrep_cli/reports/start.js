// Start: the theme, the heat map of the first choice, and the tables.
function showThemes() {
  const themes = ["as the system", "light", "dark"];
  byId("themes").append(...themes.map((name, place) => {
    const button = make("input", { type: "radio", name: "theme", id: `theme-${place}`, checked: !place });
    button.addEventListener("change", () => {
      if (place) document.documentElement.dataset.theme = name;
      else delete document.documentElement.dataset.theme;
    });
    return make("span", {}, button, make("label", { for: `theme-${place}` }, name));
  }));
}

showThemes();
showFind();
if (shown.grid) {
  showGrid(shown.grid);
  showChoices();
} else {
  byId("map").hidden = byId("spaces").hidden = true;
}
showTables();
document.documentElement.dataset.ready = "yes";
