// Requests to the service, their errors, and cancellation of outdated requests.

import { keep, recall } from "./storage.js";

const KEY = "api-key";

/** A request that failed, with the `status` and `code` of the answer and `retryAfter` in seconds, if there are any. */
export class Trouble extends Error {
  constructor(message, answer) {
    super(message);
    Object.assign(this, answer);
  }
}

/** Keep an API key until the tab is closed. */
export const rememberKey = (key) => keep(KEY, key);

/** Whether requests carry an API key. */
export const hasKey = () => recall(KEY) !== null;

export const get = (path, signal) => ask(path, { signal });

export const post = (path, body, signal) =>
  ask(path, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" }, signal });

async function ask(path, { headers = {}, ...request }) {
  const key = recall(KEY);
  const sent = fetch(path, { ...request, headers: key ? { ...headers, "x-api-key": key } : headers });
  const response = await sent.catch(trouble("The service cannot be reached."));
  const document = await response.json().catch(trouble("The connection was lost during the answer."));
  if (response.ok) return document;
  const { code, message } = document.error ?? {};
  throw new Trouble(explain(response.status, message), {
    status: response.status,
    code,
    retryAfter: Number(response.headers.get("retry-after")),
  });
}

function trouble(message) {
  return (error) => { throw error.name === "AbortError" ? error : new Trouble(message); };
}

function explain(status, message) {
  const said = message ? ` The service says: ${message}` : "";
  if (status === 401) return hasKey() ? "This API key is not valid." : "The service requires an API key.";
  if (status === 413) return `The text is longer than the service allows.${said}`;
  if (status === 429 || status === 503) return `The service is busy at the moment.${said}`;
  if (status === 504) return "The service did not answer in time.";
  return message ?? `The service answered with status ${status}.`;
}

/** Runs only the newest of several requests: it cancels the earlier ones and drops their answers. */
export class Newest {
  #controller = new AbortController();
  #timer = 0;

  /** Run `work(signal)` after a delay without a newer call. Its result goes to `done`, its `Trouble` to `failed`. */
  run(milliseconds, work, done, failed) {
    this.stop();
    const controller = (this.#controller = new AbortController());
    this.#timer = setTimeout(async () => {
      try {
        const result = await work(controller.signal);
        if (!controller.signal.aborted) done(result);
      } catch (error) {
        if (controller.signal.aborted) return;
        if (!(error instanceof Trouble)) throw error;
        failed(error);
      }
    }, milliseconds);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#controller.abort();
  }
}
