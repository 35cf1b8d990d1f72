// The overview: what the run came to, why documents have no row, and how the values of each field are.

const GROUNDED = ["exact", "normalised", "number", "date", "derived", "metadata"];

function overview(figures, show) {
  const parts = [tiles(figures), differences(figures), reasons(figures, show), fields(figures, show), spread(figures), making(figures)];
  byId("overview").replaceChildren(...parts.filter(Boolean));
}

function tile(title, value, note, kind = "") {
  return element("div", { class: `tile ${kind}` }, element("dt", {}, title), element("dd", {}, element("strong", {}, value), element("span", {}, note)));
}

function tiles(figures) {
  const { documents, extractions, usage } = figures;
  const failed = documents - extractions;
  const found = [
    tile("Documents", count(documents), figures.wall_s ? `in ${seconds(figures.wall_s)}` : "rows and dead letters"),
    tile("Rows", count(extractions), `${percent(extractions, documents)} of the documents`),
    tile("Dead letters", count(failed), failed ? `${percent(failed, documents)}, in ${plural(figures.reasons.length, "kind")}` : "none", failed ? "bad" : ""),
    tile("Tokens read", large(usage.prompt_tokens), `${percent(usage.cached_tokens, usage.prompt_tokens)} from the cache`),
    tile("Tokens written", large(usage.completion_tokens), documents ? `${quantity(Math.round(usage.completion_tokens / documents))} a document` : "–"),
    money(figures),
  ];
  if (figures.score) {
    const { overall } = figures.score;
    found.push(tile("F1 by the gold", overall.f1 === null ? "–" : (100 * overall.f1).toFixed(1), `${plural(figures.score.documents, "document")} scored`));
  }
  return element("dl", { class: "tiles" }, found);
}

function money(figures) {
  if (figures.emulated) return tile("Cost", "$0", `the emulator answered; Kimi: ${dollars(figures.would_have_cost_usd)}`);
  const cost = figures.cost_usd;
  const each = cost && figures.documents ? `${dollars((1000 * cost) / figures.documents)} for 1\u202f000 documents` : "";
  return tile("Cost", dollars(cost), each);
}

function differences(figures) {
  if (!figures.differs_from_summary.length) return null;
  const names = figures.differs_from_summary.map((one) => one.name.replace("_", " ")).join(" and ");
  return element("p", { class: "notice" }, `The files hold another number of ${names} than summary.json says: some are missing, or of another run.`);
}

function section(title, note, ...children) {
  return element("section", { class: "block" }, element("h2", {}, title), note && element("p", { class: "small" }, note), ...children);
}

function reasons(figures, show) {
  if (!figures.reasons.length) return section("Dead letters", "None: every document became a row.");
  const failed = figures.documents - figures.extractions;
  const rows = figures.reasons.map((one) => element("tr", {},
    element("th", { scope: "row" }, element("button", { class: "link", click: () => show(one.code) }, one.code)),
    element("td", { class: "number" }, count(one.documents)),
    element("td", { class: "bar" }, shareBar([[one.documents, "bad", one.code]], failed, `${percent(one.documents, failed)} of the dead letters`)),
    element("td", {}, one.retryable === one.documents ? "yes" : one.retryable ? `${count(one.retryable)} of them` : "no"),
    element("td", { class: "samples" }, one.samples.map((sample) => element("p", {}, element("bdi", { class: "id" }, sample.id), " ", element("bdi", {}, sample.message)))),
  ));
  return section("Dead letters", "Documents without a row. Those that may succeed are run again by kimi-beam redrive.",
    table(["Code", "Documents", "", "May succeed again", "For example"], rows, "reasons", [1]));
}

function table(head, rows, kind, numbers = []) {
  const cells = head.map((title, index) => title ? element("th", { scope: "col", class: numbers.includes(index) ? "number" : null }, title) : element("td", {}));
  return element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": kind },
    element("table", { class: kind }, element("thead", {}, element("tr", {}, cells)), element("tbody", {}, rows)));
}

function fields(figures, show) {
  const grounded = figures.fields.some((one) => Object.keys(one.grounding).length);
  const head = ["Field", "Filled", "", "Different", "Distribution"];
  if (grounded) head.push("Stands in the text");
  if (figures.score) head.push("F1");
  const rows = figures.fields.flatMap((one) => fieldRows(one, figures, grounded, head.length, show));
  const note = grounded ? "" : "Nobody has looked where the values stand in their documents: extract with --ground.";
  return section("Fields", note, table(head, rows, "fields", [1, 3, grounded ? 6 : 5]));
}

function fieldRows(one, figures, grounded, columns, show) {
  const details = element("tr", { class: "details", hidden: true }, element("td", { colspan: columns }));
  const toggle = () => {
    if (!details.firstChild.firstChild) details.firstChild.append(fieldDetails(one, show));
    details.hidden = !details.hidden;
    button.setAttribute("aria-expanded", String(!details.hidden));
  };
  const button = element("button", { class: "link", "aria-expanded": "false", click: toggle }, fieldName(one.field));
  const places = one.filled + one.empty;
  const words = `${count(one.filled)} of ${count(places)} places have a value`;
  const row = element("tr", {},
    element("th", { scope: "row" }, button),
    element("td", { class: "number", title: words }, percent(one.filled, places)),
    element("td", { class: "bar" }, shareBar([[one.filled, "good", words]], places, words)),
    element("td", { class: "number" }, `${one.distinct_is_exact ? "" : "≈ "}${quantity(one.distinct)}`),
    element("td", { class: "bar" }, distribution(one)));
  if (grounded) row.append(element("td", { class: "bar" }, groundingBar(one)));
  if (figures.score) row.append(element("td", { class: "number" }, f1(figures.score.fields[one.field])));
  return [row, details];
}

function f1(score) {
  return score && score.f1 !== null ? (100 * score.f1).toFixed(1) : "–";
}

function fieldName(pointer) {
  return pointer === "" ? "(the answer)" : pointer.slice(1).replaceAll("/*", "[]").replaceAll("/", ".").replaceAll("~1", "/").replaceAll("~0", "~");
}

function distribution(one) {
  if (one.numbers && one.numbers.bars.counts.length > 1) return sparkline(one.numbers.bars.counts, `numbers from ${quantity(one.numbers.min)} to ${quantity(one.numbers.max)}`);
  const top = one.top.map(([, number]) => number);
  if (!top.length) return "–";
  if (top[0] === 1 && top.length > 1) return element("span", { class: "small" }, "no value twice");
  return sparkline(top, `the most frequent value occurs ${count(top[0])} times`);
}

function groundingParts(grounding) {
  const sum = (names) => names.reduce((total, name) => total + (grounding[name] ?? 0), 0);
  const all = sum(Object.keys(grounding));
  const good = sum(GROUNDED);
  const open = grounding.unverified ?? 0;
  return { all, good, open, bad: all - good - open };
}

function groundingBar(one) {
  const { all, good, open, bad } = groundingParts(one.grounding);
  if (!all) return "–";
  const words = [[good, "grounded"], [open, "unverified"], [bad, "nowhere"]].filter(([number]) => number).map(([number, name]) => `${count(number)} ${name}`);
  const parts = [[good, "good", words.join(", ")], [open, "open", words.join(", ")], [bad, "bad", words.join(", ")]];
  return [shareBar(parts, all, words.join(", ")), element("span", { class: bad ? "aside bad" : "aside" }, percent(good, all))];
}

function fieldDetails(one, show) {
  const blocks = [];
  if (one.top.length) {
    const rows = one.top.map(([value, number]) => element("li", {}, element("bdi", { class: "shown" }, value === "" ? "(empty text)" : value), element("span", { class: "number" }, count(number))));
    blocks.push(element("div", {}, element("h3", {}, one.top.length < one.distinct ? "Most frequent" : "All values"), element("ol", { class: "most" }, rows)));
  }
  if (one.numbers) blocks.push(histogram(one.numbers, "Numbers", quantity));
  if (one.lengths) blocks.push(histogram(one.lengths, "Characters", quantity));
  const kinds = Object.entries(one.grounding);
  if (kinds.length) {
    const rows = kinds.sort((a, b) => b[1] - a[1]).map(([kind, number]) => element("li", {}, element("span", { class: `chip ${matchClass(kind)}` }, kind), element("span", { class: "number" }, count(number))));
    blocks.push(element("div", {}, element("h3", {}, "Stands in the text"), element("ol", { class: "most" }, rows)));
  }
  if (one.empty) blocks.push(element("div", {}, element("button", { click: () => show(emptyKind(one.field)) }, `Show documents without it (${count(one.empty)})`)));
  return element("div", { class: "blocks" }, blocks);
}

function spread(figures) {
  const { prompt_tokens: read, completion_tokens: written, queue_seconds: queued, seconds_after_the_first_answer: after } = figures.histograms;
  const shown = [];
  if (read) shown.push(histogram(read, "Tokens read, a document", quantity));
  if (written) shown.push(histogram(written, "Tokens written, a document", quantity));
  if (queued) shown.push(histogram(queued, "Waiting, from the submit to the answer", seconds));
  if (after && after.max > 0) shown.push(histogram(after, "When the answers came, after the first", seconds));
  return shown.length ? section("Tokens and waiting", "", element("div", { class: "figures" }, shown)) : null;
}

function making(figures) {
  const { rows, repairs } = figures;
  const told = [
    [rows.repaired, "rows were repaired"], [rows.incomplete, "rows may be incomplete"], [rows.in_parts, "were asked for in parts"],
    [rows.with_conflicts, "have parts that differ"], [figures.documents_maybe_paid_twice, "documents may have been paid for twice"],
  ].filter(([number]) => number).map(([number, words]) => element("li", {}, element("strong", {}, count(number)), ` ${words}`));
  const kinds = Object.entries(repairs).map(([kind, number]) => element("li", {}, element("strong", {}, count(number)), ` repairs: ${kind.replaceAll("_", " ")}`));
  const models = Object.entries(figures.model_answered ?? {}).map(([name, number]) => element("li", {}, element("strong", {}, count(number)), " rows by ", element("bdi", {}, name)));
  return section("How the rows were made", "", element("ul", { class: "facts" }, told, kinds, models));
}
