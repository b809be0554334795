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
  return frame?.querySelector("textarea").value ?? "";
};

window.lilimsPatch = (element, html) => {
  template.innerHTML = html;
  adaptChildren(element, template.content);
};
