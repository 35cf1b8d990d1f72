// One document: its record, value by value, beside its text or its pictures.

// What stands where in a value.
const [POINTER, KIND, TEXT, MATCH, START, END, PAGE, CANDIDATES, DOUBT, SIGNALS, ERROR, GOLD] = Array(12).keys();

const BAD_MATCHES = ["near", "none", "hidden", "example"];

function matchClass(match) {
  if (BAD_MATCHES.includes(match)) return "bad";
  return match === "unverified" ? "open" : "good";
}

function emptyKind(field) {
  return `${fieldName(field)} is empty`;
}

/** What is special about a document, by which it is found. */
function kindsOf(one) {
  const kinds = new Set(one.outcome ? ["dead letters", one.outcome] : ["rows"]);
  for (const value of one.values) {
    const field = value[POINTER].replace(/\/\d+(?=\/|$)/g, "/*");
    if (value[POINTER] === "" && value[KIND] === "m") kinds.add("may be incomplete");
    else if (value[KIND] === "m" || value[KIND] === "o") kinds.add(emptyKind(field));
    if (value[MATCH] && matchClass(value[MATCH]) !== "good") kinds.add(`${fieldName(field)} is ${value[MATCH]}`);
    if (value[ERROR]) kinds.add(`${fieldName(field)} is wrong by the gold`);
  }
  return kinds;
}

/** Draws a document. `choose(index, scroll)` is told which of its values is looked at. */
function documentView(one, choose) {
  const head = element("header", {},
    element("button", { id: "back", class: "quiet" }, "← List"),
    element("h2", { dir: "auto" }, element("bdi", { class: "id" }, one.id)),
    element("p", { class: "small" }, facts(one)));
  return [head, element("div", { class: "panes" }, element("div", { class: "original" }, original(one, choose)), element("div", { class: "record" }, record(one, choose)))];
}

function facts(one) {
  const [read, cached, written] = one.tokens;
  const shown = [one.outcome ? element("span", { class: "chip bad" }, one.outcome) : element("span", { class: "chip good" }, "row")];
  shown.push(` ${count(read ?? 0)} tokens read (${count(cached ?? 0)} cached), ${count(written ?? 0)} written`);
  if (one.attempts > 1) shown.push(` · ${plural(one.attempts, "attempt")}`);
  if (one.at) shown.push(` · ${one.at.replace("T", " ").slice(0, 19)}`);
  if (one.source && one.source !== one.id) shown.push(" · ", element("bdi", {}, one.source));
  return shown;
}

function original(one, choose) {
  const shown = [];
  if (one.note) shown.push(element("p", { class: "small note" }, one.note));
  for (const [index, uri] of one.pictures.entries()) shown.push(element("img", { src: uri, alt: `Picture ${index + 1} of the document` }));
  if (one.text) shown.push(markedText(one, choose));
  else if (!one.pictures.length && !one.note) shown.push(element("p", { class: "empty" }, one.text === "" ? "The document has no text." : "Its text is not in this page."));
  return shown;
}

function record(one, choose) {
  const shown = [];
  if (one.outcome) {
    shown.push(element("p", { class: "message" }, element("bdi", {}, one.message)), element("p", { class: "small" }, `It failed in the step ${one.stage}.`));
  }
  if (one.errors !== null) shown.push(element("p", { class: one.errors ? "small wrong" : "small" }, one.errors ? `${plural(one.errors, "value")} wrong by the gold` : "All values are right by the gold."));
  shown.push(element("ul", { class: "values", "aria-label": "Values" }, valueItems(one, choose)));
  if (one.notes.length) shown.push(element("ul", { class: "facts small" }, one.notes.map((note) => element("li", {}, element("bdi", {}, note)))));
  if (one.raw) shown.push(folded("The answer as it came", one.raw, true));
  if (one.metadata) shown.push(folded("Metadata", one.metadata));
  return shown;
}

function folded(title, text, open = false) {
  return element("details", { open }, element("summary", {}, title), element("pre", { dir: "auto", tabindex: 0, role: "region", "aria-label": title }, text));
}

/** The values, those of a list's item under its name. */
function valueItems(one, choose) {
  const items = [];
  let group = "";
  for (const [index, value] of one.values.entries()) {
    const [around, name] = named(value[POINTER]);
    if (around !== group && around) items.push(element("li", { class: "group" }, around));
    group = around;
    items.push(element("li", {}, valueButton(value, name, index, choose)));
  }
  return items;
}

/** The item of a list that a value belongs to, and the value's name in it. */
function named(pointer) {
  const tokens = pointer.split("/").slice(1).map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
  let last = tokens.length - 1;
  while (last >= 0 && !/^\d+$/.test(tokens[last])) last -= 1;
  const join = (some) => some.map((token, index) => (/^\d+$/.test(token) ? `[${token}]` : index ? `.${token}` : token)).join("");
  return last === tokens.length - 1 && last >= 0 ? [join(tokens.slice(0, last)), `[${tokens[last]}]`] : [join(tokens.slice(0, last + 1)), join(tokens.slice(last + 1)) || "(the answer)"];
}

function valueButton(value, name, index, choose) {
  const kind = value[KIND];
  const none = kind === "m" || kind === "o";
  const text = value[POINTER] === "" && kind === "m" ? "may lack something" : none ? "no value" : value[TEXT] === "" ? "empty text" : value[TEXT];
  const chips = [];
  const places = value[CANDIDATES] > 1 ? `one of ${count(value[CANDIDATES])} places` : null;
  const match = value[MATCH] && element("span", { class: `chip match ${matchClass(value[MATCH])}`, title: places }, value[CANDIDATES] > 1 ? `${value[MATCH]} ×${count(value[CANDIDATES])}` : value[MATCH]);
  if (value[PAGE]) chips.push(element("span", { class: "chip" }, `page ${value[PAGE]}`));
  if (value[DOUBT]) chips.push(element("span", { class: "chip doubt", title: value[SIGNALS].join(", ") }, `${Math.round(100 * value[DOUBT])} % doubt`));
  if (value[ERROR]) chips.push(element("span", { class: "chip bad" }, value[ERROR].replaceAll("_", " ")), element("span", { class: "gold" }, "gold: ", element("bdi", {}, value[GOLD])));
  return element("button", { class: "value", "aria-pressed": "false", "data-index": index, click: () => choose(index, true) },
    element("span", { class: "label" }, element("bdi", {}, name)),
    element("bdi", { class: none || value[TEXT] === "" ? "shown none" : `shown ${kind === "n" ? "number" : ""}` }, text),
    match,
    chips.length ? element("span", { class: "chips" }, chips) : null);
}
