// A finger that is held sends `contextmenu` to what is below it, which iOS does not do by itself.
const HOLD_MS = 500;
const SLOP_PX = 10;

let held;
let swallows = false;

const end = () => {
  clearTimeout(held?.timer);
  held = undefined;
};

const hold = ({ target, clientX, clientY }) => {
  held = undefined;
  const init = { bubbles: true, cancelable: true, clientX, clientY, pointerType: "touch" };
  // Lifting the finger presses nothing, if a menu was opened.
  swallows = !target.dispatchEvent(new PointerEvent("contextmenu", init));
};

addEventListener("pointerdown", (event) => {
  end();
  swallows = false;
  if (event.pointerType === "touch" && event.isPrimary) {
    held = { x: event.clientX, y: event.clientY, timer: setTimeout(hold, HOLD_MS, event) };
  }
}, true);

addEventListener("pointermove", (event) => {
  if (held && Math.hypot(event.clientX - held.x, event.clientY - held.y) > SLOP_PX) end();
}, true);

for (const name of ["pointerup", "pointercancel", "contextmenu"]) addEventListener(name, end, true);

addEventListener("click", (event) => {
  if (!swallows) return;
  swallows = false;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
