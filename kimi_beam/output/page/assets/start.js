// Starts the page: its tabs, its keys, and the reading of its data.

let browser = null;

function showTab(name) {
  for (const one of ["overview", "documents"]) {
    const chosen = one === name;
    byId(one).hidden = !chosen;
    byId(`tab-${one}`).setAttribute("aria-selected", String(chosen));
    byId(`tab-${one}`).tabIndex = chosen ? 0 : -1;
  }
  document.body.dataset.tab = name;
  if (name === "documents") browser?.draw();
}

/** Shows the documents of a kind. */
function showKind(kind) {
  showTab("documents");
  byId("search").value = "";
  byId("kind").value = kind;
  if (byId("kind").selectedIndex < 0) byId("kind").value = "";
  browser?.find();
  byId("rows").focus();
}

// On a narrow screen, the list or the document is in sight.
function openDocument() {
  document.body.dataset.open = "document";
}

function closeDocument() {
  delete document.body.dataset.open;
  byId("rows").focus();
}

function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

function help() {
  byId("help").showModal();
}

const KEYS = {
  1: () => { showTab("overview"); byId("tab-overview").focus(); },
  2: () => { showTab("documents"); byId("rows").focus(); },
  "/": () => { showTab("documents"); closeDocument(); byId("search").focus(); },
  j: () => { showTab("documents"); browser?.move(1); },
  k: () => { showTab("documents"); browser?.move(-1); },
  n: () => browser?.moveValue(1),
  p: () => browser?.moveValue(-1),
  u: closeDocument,
  d: changeTheme,
  "?": help,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const typing = event.target.matches("input, select, textarea");
  if (typing && event.key === "Escape") byId("rows").focus();
  if (typing || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
}

function onTabKey(event) {
  if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
  const other = byId("overview").hidden ? "overview" : "documents";
  showTab(other);
  byId(`tab-${other}`).focus();
}

async function start() {
  document.addEventListener("keydown", onKey);
  for (const name of ["overview", "documents"]) {
    byId(`tab-${name}`).addEventListener("click", () => showTab(name));
    byId(`tab-${name}`).addEventListener("keydown", onTabKey);
  }
  byId("theme").addEventListener("click", changeTheme);
  byId("keys").addEventListener("click", help);
  byId("close-help").addEventListener("click", () => byId("help").close());
  showTab("overview");
  for await (const figures of blocks("figures")) {
    const named = [figures.schema, figures.output, figures.model].filter(Boolean);
    byId("subtitle").replaceChildren(...named.flatMap((name, index) => [index ? " · " : "", element("bdi", {}, name)]));
    document.title = `${figures.schema ?? "Extraction"} · ${figures.output} · report`;
    overview(figures, showKind);
    byId("tab-documents").textContent = `Documents ${count(figures.shown.documents)}`;
    browser = new Browser(await readDocuments(), figures);
  }
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => {
  byId("trouble").textContent = globalThis.DecompressionStream ? `This page cannot be shown: ${error.message}` : "This browser is too old for this page: it cannot decompress data.";
  byId("trouble").hidden = false;
  document.documentElement.dataset.ready = "failed";
});
