// Makes the content of an element that of some HTML, and keeps the nodes that stay as they are: text that
// grows is laid out and drawn at its end only, and what the reader has selected stays selected.
const template = document.createElement("template");

// What the page has made itself of the wanted node.
const isDrawn = (node, wanted) => node.dataset?.source && node.dataset.source === wanted.textContent;

const isSameTag = (node, wanted) =>
  node.nodeType === 1 && node.cloneNode().isEqualNode(wanted.cloneNode()) && !node.matches("figure, .math");

const adapt = (node, wanted) => {
  if (node.isEqualNode(wanted) || isDrawn(node, wanted)) return;
  if (node.nodeType === 3 && wanted.nodeType === 3) {
    const begins = wanted.data.startsWith(node.data);
    node.replaceData(begins ? node.length : 0, node.length, begins ? wanted.data.slice(node.length) : wanted.data);
  } else if (isSameTag(node, wanted)) {
    adaptChildren(node, wanted);
  } else {
    node.replaceWith(wanted);
  }
};

const adaptChildren = (node, wanted) => {
  const [present, wantedNodes] = [[...node.childNodes], [...wanted.childNodes]];
  wantedNodes.forEach((it, at) => (at < present.length ? adapt(present[at], it) : node.append(it)));
  present.slice(wantedNodes.length).forEach((it) => it.remove());
};

// Takes away what was painted first, and returns what was typed into it.
window.lilimsTakeFrame = () => {
  const frame = document.getElementById("frame");
  frame?.remove();
  const kept = sessionStorage.getItem(TYPED) ?? "";
  sessionStorage.removeItem(TYPED);
  return frame?.querySelector("textarea").value || kept;
};

// Where it is kept what was typed when the page failed, and when it did.
const [TYPED, FAILED_AT] = ["lilims.typed", "lilims.failed-at"];
// How long a page that failed is shown before it is loaded again, and when it is not.
const [RELOAD_AFTER_MS, NOT_AGAIN_WITHIN_MS] = [10_000, 60_000];

// The page has failed and runs no more: shows what was kept, and loads it again. A page that fails again
// and again waits for the button.
window.lilimsPanicked = (title, text, label) => {
  const notice = document.getElementById("panic");
  const button = notice.querySelector("button");
  const typed = document.querySelector(".composer textarea")?.value ?? "";
  notice.querySelector("h1").textContent = title;
  notice.querySelector("p").textContent = text;
  notice.querySelector("pre").textContent = typed;
  button.textContent = label;
  button.onclick = () => location.reload();
  notice.hidden = false;
  button.focus();
  const failedAt = Number(sessionStorage.getItem(FAILED_AT));
  sessionStorage.setItem(FAILED_AT, Date.now());
  sessionStorage.setItem(TYPED, typed);
  if (Date.now() - failedAt > NOT_AGAIN_WITHIN_MS) setTimeout(button.onclick, RELOAD_AFTER_MS);
};

window.lilimsPatch = (element, html) => {
  template.innerHTML = html;
  adaptChildren(element, template.content);
};
