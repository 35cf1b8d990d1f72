// The data of the page, and a document's text with its values marked in it.

/** What the blocks of a name hold, one after the other. Each is let go once it is read. */
async function* blocks(name) {
  for (const node of document.querySelectorAll(`script[data-of="${name}"]`)) {
    const bytes = bytesOf(node.textContent);
    node.remove();
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    yield JSON.parse(await new Response(stream).text());
  }
}

function bytesOf(base64) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(base64);
  const binary = atob(base64);
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < binary.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return bytes;
}

/** All documents, by their position in the output, with what they are searched by. */
async function readDocuments() {
  const byPosition = new Map();
  for await (const block of blocks("documents")) {
    for (const one of block) byPosition.set(one.position, { ...one, kinds: kindsOf(one), text: null, note: "", pictures: [] });
  }
  for await (const block of blocks("texts")) {
    for (const [position, text, note, pictures] of block) Object.assign(byPosition.get(position) ?? {}, { text, note, pictures });
  }
  for (const one of byPosition.values()) one.searched = searched(one);
  return [...byPosition.values()];
}

function searched(one) {
  const values = one.values.map((value) => value[TEXT]);
  return [one.id, one.message ?? "", ...values, one.text ?? "", one.metadata].join("\n").toLowerCase();
}

/** Positions in a text are counted in characters; a script counts some of them twice. */
function scriptPositions(text, positions) {
  if (!/[\ud800-\udbff]/.test(text)) return new Map(positions.map((one) => [one, one]));
  const found = new Map();
  const wanted = [...new Set(positions)].sort((a, b) => a - b);
  let characters = 0;
  let at = 0;
  for (const position of wanted) {
    while (characters < position && at < text.length) {
      at += text.codePointAt(at) > 0xffff ? 2 : 1;
      characters += 1;
    }
    found.set(position, at);
  }
  return found;
}

/** A text with a mark around each place of a value; a place of several values has one mark with all their numbers. */
function markedText(one, choose) {
  const spans = one.values.map((value, index) => ({ index, start: value[START], end: value[END], match: value[MATCH] })).filter((span) => Number.isInteger(span.end) && span.end > span.start);
  const at = scriptPositions(one.text, spans.flatMap((span) => [span.start, span.end]));
  const edges = [...new Set([0, one.text.length, ...at.values()])].filter((edge) => edge <= one.text.length).sort((a, b) => a - b);
  spans.sort((a, b) => a.start - b.start);
  const inside = [];
  let next = 0;
  const parts = [];
  for (let index = 0; index + 1 < edges.length; index += 1) {
    const [from, to] = [edges[index], edges[index + 1]];
    for (let gone = inside.length - 1; gone >= 0; gone -= 1) if (at.get(inside[gone].end) <= from) inside.splice(gone, 1);
    while (next < spans.length && at.get(spans[next].start) <= from) inside.push(spans[next++]);
    const text = one.text.slice(from, to);
    parts.push(inside.length ? mark(text, inside, choose) : text);
  }
  const node = element("pre", { id: "text", class: isLaidOut(one.text) ? "laid-out" : null, tabindex: 0, dir: "auto", "aria-label": "Text of the document", role: "region" });
  node.append(...parts);
  return node;
}

/** Whether the lines of a text are short, so that what stands below each other in it is meant to. */
function isLaidOut(text) {
  return !/[^\n]{200}/.test(text);
}

function mark(text, spans, choose) {
  const node = element("mark", { class: matchClass(spans[0].match), click: () => choose(spans[0].index, false) }, text);
  node.values = spans.map((span) => span.index);
  return node;
}

/** Shows where a search is met in a text, without changing the text's elements. */
function markSearch(node, query) {
  if (!globalThis.CSS?.highlights) return;
  CSS.highlights.delete("search");
  if (!query || !node) return;
  const ranges = [];
  const walker = document.createTreeWalker(node, NodeFilter.SHOW_TEXT);
  while (walker.nextNode() && ranges.length < 1000) {
    const text = walker.currentNode.data.toLowerCase();
    for (let at = text.indexOf(query); at >= 0 && at + query.length <= walker.currentNode.length; at = text.indexOf(query, at + query.length)) {
      const range = new Range();
      range.setStart(walker.currentNode, at);
      range.setEnd(walker.currentNode, at + query.length);
      ranges.push(range);
    }
  }
  CSS.highlights.set("search", new Highlight(...ranges));
}
