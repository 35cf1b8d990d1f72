// The list of documents: found by search and kind, ordered, and drawn only where it is looked at.

const ROW_HEIGHT = 52;
const BEYOND = 6;
// Where keys are data, each document may have kinds of its own.
const MOST_KINDS = 400;

/** The directory that all ids begin with, which tells none of them apart; empty if there is none. */
function commonDirectory(ids) {
  if (ids.length < 2) return "";
  let common = ids[0];
  for (const id of ids) while (!id.startsWith(common)) common = common.slice(0, -1);
  return common.slice(0, common.lastIndexOf("/") + 1);
}

class Browser {
  constructor(documents, figures) {
    this.documents = documents;
    this.figures = figures;
    this.found = [];
    this.at = -1;
    this.value = -1;
    this.rows = byId("rows");
    this.inside = byId("rows-inside");
    this.fillKinds();
    byId("search").addEventListener("input", () => this.find());
    byId("kind").addEventListener("change", () => this.find());
    byId("order").addEventListener("change", () => { this.sort(); this.find(); });
    this.rows.addEventListener("scroll", () => this.draw(), { passive: true });
    this.rows.addEventListener("keydown", (event) => this.moveBy(event));
    new ResizeObserver(() => this.draw()).observe(this.rows);
    byId("sample").textContent = this.sampleWords();
    this.directory = commonDirectory(documents.map((one) => one.id));
    this.sort();
    this.find();
  }

  /** The kinds of documents that there are, with their numbers. */
  fillKinds() {
    const counts = new Map();
    for (const one of this.documents) for (const kind of one.kinds) counts.set(kind, (counts.get(kind) ?? 0) + 1);
    const frequent = [...counts].sort((a, b) => b[1] - a[1]).slice(0, MOST_KINDS);
    const kinds = frequent.sort((a, b) => (a[0] < b[0] ? -1 : 1));
    const options = kinds.map(([kind, number]) => element("option", { value: kind }, `${kind} (${count(number)})`));
    byId("kind").replaceChildren(element("option", { value: "" }, `All documents (${count(this.documents.length)})`), ...options);
  }

  sampleWords() {
    const { documents, of, texts } = this.figures.shown;
    const some = `${count(documents)} of ${count(of)} documents are here, some of each kind: of each dead-letter code, each field without a value, each kind of grounding. The figures are of all.`;
    const read = `The texts of ${count(texts)} documents are here.`;
    return [documents < of && some, texts < documents && read].filter(Boolean).join(" ");
  }

  sort() {
    const orders = {
      doubt: (a, b) => b.doubt - a.doubt || a.position - b.position,
      position: (a, b) => a.position - b.position,
      id: (a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : a.position - b.position),
    };
    this.documents.sort(orders[byId("order").value]);
  }

  /** Finds documents anew, and looks at the first one. */
  find() {
    const began = performance.now();
    const query = byId("search").value.toLowerCase();
    const kind = byId("kind").value;
    const found = this.documents.filter((one) => (!kind || one.kinds.has(kind)) && (!query || one.searched.includes(query)));
    this.found = found;
    byId("found").textContent = plural(found.length, "document");
    this.inside.style.height = `${found.length * ROW_HEIGHT}px`;
    this.rows.scrollTop = 0;
    this.look(found.length ? 0 : -1, false);
    document.documentElement.dataset.searchMilliseconds = (performance.now() - began).toFixed(1);
  }

  /** Draws the rows that are in sight. */
  draw() {
    const first = Math.max(0, Math.floor(this.rows.scrollTop / ROW_HEIGHT) - BEYOND);
    const last = Math.min(this.found.length, Math.ceil((this.rows.scrollTop + this.rows.clientHeight) / ROW_HEIGHT) + BEYOND);
    const shown = [];
    for (let index = first; index < last; index += 1) shown.push(this.row(index));
    if (this.at >= 0 && (this.at < first || this.at >= last)) shown.push(this.row(this.at));
    this.inside.replaceChildren(...shown);
    if (this.at >= 0) this.rows.setAttribute("aria-activedescendant", `row-${this.at}`);
    else this.rows.removeAttribute("aria-activedescendant");
  }

  row(index) {
    const one = this.found[index];
    const selected = index === this.at;
    const node = element("div", {
      role: "option", id: `row-${index}`, class: "row", "aria-selected": String(selected),
      "aria-posinset": index + 1, "aria-setsize": this.found.length, click: () => { this.look(index, false); openDocument(); },
    },
      element("bdi", { class: "id", title: one.id }, one.id.slice(this.directory.length)),
      element("span", { class: "second" }, one.outcome ? element("span", { class: "chip bad" }, one.outcome) : this.firstValues(one)),
      one.doubt >= 0.1 && element("span", { class: "doubt", title: "values that are expected to be wrong" }, one.doubt.toFixed(1)));
    node.style.top = `${index * ROW_HEIGHT}px`;
    return node;
  }

  firstValues(one) {
    return element("bdi", {}, one.values.filter((value) => value[TEXT]).slice(0, 3).map((value) => value[TEXT].slice(0, 60)).join(" · "));
  }

  /** Looks at a document. */
  look(index, scroll = true) {
    this.at = index;
    this.value = -1;
    const one = this.found[index];
    const place = byId("document");
    const query = byId("search").value.toLowerCase();
    if (!one) place.replaceChildren(element("p", { class: "empty" }, this.documents.length ? "No document is found." : "This page holds no documents."));
    else place.replaceChildren(...documentView(one, (value, jump) => this.choose(value, jump)));
    byId("back")?.addEventListener("click", () => closeDocument());
    place.scrollTop = 0;
    if (scroll) this.show(index);
    this.draw();
    markSearch(place, query);
  }

  /** Scrolls the list so that a row is in sight. */
  show(index) {
    const top = index * ROW_HEIGHT;
    const { scrollTop, clientHeight } = this.rows;
    if (top < scrollTop) this.rows.scrollTop = top;
    else if (top + ROW_HEIGHT > scrollTop + clientHeight) this.rows.scrollTop = top + ROW_HEIGHT - clientHeight;
  }

  move(by) {
    if (!this.found.length) return;
    this.look(Math.min(this.found.length - 1, Math.max(0, this.at + by)));
  }

  moveBy(event) {
    const page = Math.max(1, Math.floor(this.rows.clientHeight / ROW_HEIGHT) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (event.key === "Enter") openDocument();
    else if (event.key in steps) this.move(steps[event.key]);
    else return;
    event.preventDefault();
  }

  moveValue(by) {
    const buttons = byId("document").querySelectorAll("button.value");
    if (!buttons.length) return;
    const next = Math.min(buttons.length - 1, Math.max(0, this.value + by));
    buttons[next].focus();
    this.choose(next, true);
  }

  /** Looks at a value: its button and its place in the text are shown as such. */
  choose(index, jump) {
    this.value = index;
    const place = byId("document");
    for (const button of place.querySelectorAll("button.value")) button.setAttribute("aria-pressed", String(Number(button.dataset.index) === index));
    let first = null;
    for (const node of place.querySelectorAll("#text mark")) {
      const current = node.values.includes(index);
      node.classList.toggle("current", current);
      if (current) first ??= node;
    }
    if (jump) first?.scrollIntoView({ block: "center", inline: "nearest" });
    else place.querySelector('button.value[aria-pressed="true"]')?.scrollIntoView({ block: "nearest" });
  }
}
