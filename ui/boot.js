// Starts the page. A file of its own, because the content security policy allows no inline script.
import "./patch.js";
import "./touch.js";
import start from "./lilims-ui.js";

// Theme and text size apply before the first paint, and again whenever the page sets them.
const root = document.documentElement;
const dark = document.querySelector('link[href$="dark.css"]');
const media = { light: "not all", dark: "all" };
const stored = (name) => {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
};
const apply = () => {
  if (dark) dark.media = media[root.dataset.theme] ?? "(prefers-color-scheme: dark)";
  root.style.fontSize = `${Number(root.dataset.textSize) || 100}%`;
};
root.dataset.theme = stored("theme") ?? "system";
root.dataset.textSize = stored("text-size") ?? "100";
apply();
new MutationObserver(apply).observe(root, { attributeFilter: ["data-theme", "data-text-size"] });

// The texts of a language in the order of its file; a plural has all six forms.
const forms = ["zero", "one", "two", "few", "many", "other"];
const texts = (group) =>
  Object.values(group).flatMap((it) => {
    if (typeof it === "string") return it;
    return "other" in it ? forms.map((form) => it[form] ?? it.other) : texts(it);
  });
window.lilimsTexts = async (tag) => {
  const file = await fetch(new URL(`./locales/${tag}.json`, import.meta.url));
  return texts(await file.json());
};

await start({ module_or_path: new URL("./lilims-ui_bg.wasm", import.meta.url) });
