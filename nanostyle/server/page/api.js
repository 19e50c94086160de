// Requests to the server. The token is in the address behind "#", which browsers send to nobody; it moves to this tab's
// session storage at once, and travels in a header alone.

const KEY = "nanostyle-token";
const OFFLINE = "The server does not answer. Is nanostyle still running?";
const [RETRIES, RETRY_AFTER] = [10, 2000]; // ms

export class Failed extends Error {
  constructor(status, code, text) {
    super(text);
    this.status = status;
    this.code = code;
  }
}

let token = sessionStorage.getItem(KEY) || "";
if (location.hash.length > 1) {
  setToken(decodeURIComponent(location.hash.slice(1)));
  history.replaceState(null, "", location.pathname);
}

export function setToken(word) {
  token = word.trim();
  sessionStorage.setItem(KEY, token);
}

export const client = Array.from(crypto.getRandomValues(new Uint8Array(12)), (b) => b.toString(16).padStart(2, "0")).join("");

export async function request(path, options = {}) {
  const headers = new Headers(options.headers || {});
  if (token) headers.set("Authorization", "Bearer " + token);
  let answer;
  try {
    answer = await fetch(path, { ...options, headers, credentials: "omit", cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failed(0, "offline", OFFLINE);
  }
  if (answer.ok) return answer;
  let said = {};
  try {
    said = await answer.json();
  } catch {
    // Not one of our errors: the status has to do.
  }
  throw new Failed(answer.status, said.code || "error", said.error || `The server answered ${answer.status}.`);
}

export async function json(path, body, options = {}) {
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await request(path, { ...sent, ...options })).json();
}

export async function picture(path, options = {}) {
  return URL.createObjectURL(await (await request(path, options)).blob());
}

export function upload(file) {
  return json("/api/v1/pictures", undefined, { method: "POST", body: file, headers: { "X-Name": encodeURIComponent(file.name || "picture") } });
}

// The events of a job: calls `on(kind, data)` until the job is over or the signal ends it. EventSource cannot send a
// header, so this reads the stream itself.
export async function events(id, on, signal) {
  const answer = await request(`/api/v1/jobs/${id}/events`, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const parts = text.split("\n\n");
    text = parts.pop();
    for (const part of parts) {
      const kind = /^event: (.*)$/m.exec(part);
      const data = /^data: (.*)$/m.exec(part);
      if (kind) on(kind[1], data ? JSON.parse(data[1]) : {});
    }
  }
}

// Starts a job and follows it to its end; the answer is its last state. A stream that breaks off, as on a phone whose
// network is gone for a moment, is taken up again: the server waits that long before it gives a tab up.
export async function follow(job, on, signal) {
  const made = await json("/api/v1/jobs", { client, ...job }, { signal });
  let last = null;
  on("made", made);
  for (let tries = 0; !isOver(last); ) {
    let ending = false;
    try {
      await events(made.id, (kind, data) => {
        tries = 0;
        if (kind === "bye") ending = true;
        else last = data;
        on(kind, data, made.id);
      }, signal);
    } catch (error) {
      const broken = error instanceof TypeError || error.code === "offline";
      if (!broken || ++tries > RETRIES) throw error.code ? error : new Failed(0, "offline", OFFLINE);
    }
    if (ending) throw new Failed(503, "ending", "nanostyle was ended.");
    if (!isOver(last)) await new Promise((done) => setTimeout(done, tries ? RETRY_AFTER : 0));
  }
  if (last.state === "failed") throw new Failed(500, "failed", last.error);
  return { id: made.id, ...last };
}

const isOver = (status) => status !== null && !["queued", "running"].includes(status.state);
