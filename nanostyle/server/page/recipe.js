// A result that comes back: what it was made with, and its settings again.

import { $, STROKES, make, state } from "./core.js";

// Offers the settings of a recipe; `use` gets the chosen styles.
export function offerRecipe(recipe, use) {
  const wanted = (recipe.styles || []).map((name, i) => {
    const style = state.styles.find((known) => known.name === name || known.name.replace(/\.[^.]*$/, "") === name);
    return { name, style, weight: recipe.weights?.[i] || 1 };
  });
  const known = wanted.filter(({ style }) => style);
  const missing = wanted.filter(({ style }) => !style).map(({ name }) => name);
  const button = make("button", { type: "button", className: "primary", textContent: "Use its settings" });
  button.onclick = () => {
    $("offer").hidden = true;
    restore(recipe);
    use(known.map(({ style, weight }) => ({ ...style, weight })));
  };
  const names = wanted.map(({ name, style }) => style?.label ?? name).join(", ") || "nanostyle";
  const hint = missing.length ? `To use its settings add the painting ${missing.join(", ")}. ` : "";
  $("offer").hidden = false;
  $("offer").replaceChildren(`This picture was made with ${names}. ${hint}`, known.length && !missing.length ? button : "");
}

function restore(recipe) {
  const strength = Number(recipe.strength);
  $("strength").value = Number.isFinite(strength) && recipe.strength !== null ? strength : 1;
  const sizes = STROKES.map(([, size]) => size);
  const near = (size) => sizes.reduce((best, known, i) => (i && Math.abs(known - size) < Math.abs((sizes[best] ?? Infinity) - size) ? i : best), 0);
  $("strokes").value = recipe.strokes ? near(recipe.strokes) : 0;
  const colors = recipe.colors === "content" ? "content" : "style";
  document.querySelector(`input[name=colors][value=${colors}]`).checked = true;
}
