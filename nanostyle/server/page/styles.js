// The styles that the models know, and what part a chosen one has of a blend.

import { picture } from "./api.js";
import { state } from "./core.js";

export function listStyles(info) {
  for (const model of info.models) {
    for (const style of model.styles) {
      const url = `/api/v1/models/${model.id}/styles/${encodeURIComponent(style.name)}/thumbnail`;
      const thumbnail = style.thumbnail ? picture(url) : Promise.resolve("/icon.svg");
      state.styles.push({ key: `${model.id}/${style.name}`, name: style.name, label: style.label, model: model.id, thumbnail });
    }
  }
}

export function shareOf(style) {
  const total = state.chosen.reduce((sum, chosen) => sum + chosen.weight, 0);
  return `${Math.round((100 * style.weight) / total)} %`;
}
