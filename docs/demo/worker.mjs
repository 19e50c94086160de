// The network, off the page's own thread. It is asked by {id, task, ...} and answers {id, ...} or {id, error}.
import { embed, load, stylize, withGrain } from "./network.mjs";

const tasks = {
  async load() {
    await load();
    return {};
  },
  async embed({ painting }) {
    return { embedding: await embed(painting) };
  },
  async stylize({ photo, small, style, strength }) {
    const own = strength < 1 ? await embed(small) : null;
    return { picture: await stylize(photo, withGrain(photo), style, own, strength) };
  },
};

// One at a time: a session takes no second request while it works.
let last = Promise.resolve();

onmessage = ({ data: { id, task, ...values } }) => {
  last = last.then(async () => {
    try {
      postMessage({ id, ...(await tasks[task](values)) });
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  });
};
